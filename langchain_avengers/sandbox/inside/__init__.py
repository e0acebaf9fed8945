"""What runs inside the sandbox. It imports nothing of the package but itself: see `sandbox`.

`keeper` is the sandbox's first process and starts every program; `answer` serves the functions of an answer;
`judge` runs tests against them; `values` is the data that may pass between the two.
"""
