"""A pool behind OpenAI's protocol: `avengers serve`. Needs the extra `serve`."""
