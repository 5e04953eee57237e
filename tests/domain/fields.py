"""The fields of a request: values that each takes, and values that it refuses (contract §3)."""

from __future__ import annotations

from typing import Any

LEGAL: list[tuple[str, Any]] = [
    ("model", "m"),
    ("model", "m" * 128),
    ("model", "é" * 128),
    ("model", " "),
    ("prompt", "p"),
    ("prompt", "  p\n"),
    ("prompt", "p" * 32_000),
    ("prompt", "\U0001f98a" * 32_000),
    ("prompt", 'quote " and \\ and \x01'),
    ("n", 1),
    ("n", 10),
    *[
        ("size", size)
        for size in (
            "256x256",
            "512x512",
            "1024x1024",
            "1792x1024",
            "1024x1792",
            "1536x1024",
            "1024x1536",
            "auto",
            "3840x2160",
            "1x1",
            "99999x99999",
        )
    ],
    *[("quality", quality) for quality in ("standard", "hd", "low", "medium", "high", "auto", "xhigh", "max")],
    ("style", "natural"),
    ("style", "vivid"),
    ("response_format", "url"),
    ("response_format", "b64_json"),
    ("user", ""),
    ("user", "u" * 256),
    ("stream", True),
    ("stream", False),
    ("fallbacks", []),
    ("fallbacks", ["a", "azure/a", "a" * 64, "azure/" + "a" * 64, "9.-_Z"]),
    *[("background", background) for background in ("transparent", "opaque", "auto")],
    ("moderation", "low"),
    ("moderation", "auto"),
    *[("output_format", output_format) for output_format in ("png", "jpeg", "webp")],
    ("output_compression", 0),
    ("output_compression", 100),
    ("partial_images", 0),
    ("partial_images", 3),
]

TYPE, VALUE, MISSING = "invalid_type", "invalid_value", "missing_required_parameter"

NOT_TEXT: tuple[Any, ...] = (1, 1.5, True, [], ["x"], {}, {"x": 1})
NOT_WHOLE: tuple[Any, ...] = ("2", "", 1.5, 2.0, True, [], {})
NOT_TRUE: tuple[Any, ...] = ("true", "false", "", 0, 1, [], {})

ILLEGAL: list[tuple[str, Any, str, str]] = [
    # field, value, param, code
    *[(field, value, field, TYPE) for field in ("model", "prompt", "size", "user") for value in NOT_TEXT],
    *[
        (field, value, field, VALUE)
        for field in ("quality", "style", "response_format", "background", "moderation", "output_format")
        for value in ("", *NOT_TEXT)
    ],
    *[(field, value, field, TYPE) for field in ("n", "output_compression", "partial_images") for value in NOT_WHOLE],
    *[("stream", value, "stream", TYPE) for value in NOT_TRUE],
    ("model", "", "model", VALUE),
    ("model", "m" * 129, "model", VALUE),
    ("prompt", "", "prompt", VALUE),
    ("prompt", " \t\r\n\u00a0\u2003\u3000", "prompt", VALUE),
    ("prompt", "p" * 32_001, "prompt", VALUE),
    ("n", 0, "n", VALUE),
    ("n", 11, "n", VALUE),
    ("n", -1, "n", VALUE),
    ("n", 2**63, "n", VALUE),
    *[
        ("size", size, "size", VALUE)
        for size in (
            "",
            "1024",
            "1024X1024",
            "1024x1024 ",
            " 1024x1024",
            "1024x1024\n",
            "0x1024",
            "1024x0",
            "01024x1024",
            "-1x1024",
            "1024x",
            "x",
            "100000x1024",
            "1e3x1e3",
            "\u0661x\u0661",
            "AUTO",
            "1024x1024x1",
            "autox1",
        )
    ],
    ("quality", "HD", "quality", VALUE),
    ("quality", "ultra", "quality", VALUE),
    ("style", "Vivid", "style", VALUE),
    ("style", "painterly", "style", VALUE),
    ("response_format", "b64", "response_format", VALUE),
    ("response_format", "URL", "response_format", VALUE),
    ("user", "u" * 257, "user", VALUE),
    ("fallbacks", ["a"] * 6, "fallbacks", VALUE),
    ("fallbacks", "a", "fallbacks", TYPE),
    ("fallbacks", 1, "fallbacks", TYPE),
    ("fallbacks", True, "fallbacks", TYPE),
    ("fallbacks", {"0": "a"}, "fallbacks", TYPE),
    ("fallbacks", [5], "fallbacks[0]", TYPE),
    ("fallbacks", ["a", None], "fallbacks[1]", TYPE),
    *[
        ("fallbacks", ["a", name], "fallbacks[1]", VALUE)
        for name in (
            "",
            "azure/",
            "azure/azure/a",
            "openai/a",
            "Azure/a",
            "a/b",
            "../a",
            ".a",
            "-a",
            "a" * 65,
            "azure/" + "a" * 65,
            "a\n",
            "é",
            "a b",
            "a%2fb",
            "a?b",
            "a#b",
        )
    ],
    ("background", "blue", "background", VALUE),
    ("moderation", "high", "moderation", VALUE),
    ("output_format", "gif", "output_format", VALUE),
    ("output_format", "jpg", "output_format", VALUE),
    ("output_compression", -1, "output_compression", VALUE),
    ("output_compression", 101, "output_compression", VALUE),
    ("partial_images", -1, "partial_images", VALUE),
    ("partial_images", 4, "partial_images", VALUE),
]
