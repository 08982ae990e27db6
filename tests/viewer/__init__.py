"""A viewer as a radiologist has it: OHIF in headless Chromium, in front of a real Orthanc.

`front` serves the viewer and the archive from one origin, `browser` drives Chromium, `asking.js` asks the page what it
shows, `written` reads back what our objects say, `shown` compares the two, `viewer` opens a study and looks at it all,
`controls` makes what must not pass.
"""
