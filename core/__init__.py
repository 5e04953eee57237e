"""The image gateway itself: who calls, what they may, which target draws, how it is answered.

It knows neither Azure Functions nor any web framework; `function_app.py` carries requests in and answers out.
"""
