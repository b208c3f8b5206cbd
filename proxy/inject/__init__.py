"""The sidecar put into Kubernetes manifests: plain data in, plain data out. Knows no file, no cluster, no socket.

settings.py     what can be set, and by which annotation: the one table
workload.py     where a manifest keeps its pod
decide.py       whether it is injected, and why not
probes.py       probes of the application, so that they still reach it
containers.py   the containers and volumes that come in
pod.py          all of it put into a pod, and taken out again
manifests.py    files of manifests: several documents, lists, comments, JSON
patch.py        the difference of two objects as a JSON patch
review.py       AdmissionReview, for the webhook
"""
