"""The web application: upload, upscale, download. docs/web.md describes its HTTP interface."""
