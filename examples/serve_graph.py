"""The graph `langgraph dev` serves (see langgraph.json), and a server can be asked as below.

A router of your own: AVENGERS_ROUTER=path/of/the/artefact and AVENGERS_POOL=pool.yaml. Else the toy pool.
"""

import os

from langchain_avengers import ClusterRouter, create_avengers_graph

# Everything is loaded here, once: the server forbids blocking reads while it answers.
if "AVENGERS_ROUTER" in os.environ:
    from langchain_avengers.pool import Pool

    _pool = Pool.read(os.environ["AVENGERS_POOL"])
    graph = create_avengers_graph(
        ClusterRouter.load(os.environ["AVENGERS_ROUTER"]), _pool.models, name="avengers"
    )
else:
    os.environ["AVENGERS_OFFLINE"] = "1"
    from _offline import models, router

    graph = create_avengers_graph(router(), models(), name="avengers")

if __name__ == "__main__":
    # From any process: get_client(url="http://127.0.0.1:2024").runs.wait(None, "avengers", input=...)
    print(graph.invoke({"messages": [("human", "What is 3 plus 4?")]})["messages"][-1].text)
