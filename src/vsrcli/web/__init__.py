"""The web application: upload, upscale, download. docs/web.md says what it answers to what."""
