"""A viewer as a radiologist has it: OHIF in headless Chromium, in front of a real Orthanc.

`ohif` fetches the viewer, `front` serves it and the archive from one origin, `browser` drives Chromium, `written` reads
back what our objects say, `asking.js` asks the page what it shows, `viewer` compares the two.
"""
