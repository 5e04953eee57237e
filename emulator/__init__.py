"""An Azure OpenAI image service for this machine: real pictures, real streams, every failure on request.

It imports nothing of the gateway: it says independently what Azure does, so that the gateway can be tested against
it, and tried without an Azure subscription.
"""

from emulator.app import create_app

__all__ = ["create_app"]
