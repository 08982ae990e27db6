"""One module a published layout: each finds its own files in a folder and lists what they hold."""
