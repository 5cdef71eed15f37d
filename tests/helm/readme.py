"""The chart's README from the comments of values.yaml: readme.py helm/mffa prints it."""
import re
import sys

HEAD = """# mffa: the chart

One release is a queue's schedulers and its pools of workers. Redis and the bucket are yours; see docs/operations.md for sizes, upgrades,
alerts, spot nodes and security. No image is published: build them with `docker/Dockerfile` and push them to a registry of yours.

```sh
helm install mffa helm/mffa --namespace mffa --create-namespace \\
  --set redis.url=redis://redis.example.com:6379 --set redis.existingSecret=mffa-redis \\
  --set s3.existingSecret=mffa-s3 --set s3.region=eu-central-1 \\
  --set global.imageRegistry=REGISTRY
```

A pool is an entry of `workers`: its `name`, and any field of `workerDefaults` that differs. Of `image`, `gpu`, `cache`, `autoscaling` and
`settings` the members are taken one by one, other fields as a whole. A GPU pool on spot nodes:

```yaml
workers:
  - name: gpu
    kinds: [finetune, fit]
    gpu: {count: 1}
    nodeSelector: {node.kubernetes.io/lifecycle: spot}
    tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
    autoscaling: {type: keda-job, max: 8}
```

## Values

Written by `tests/helm/check.sh --write` from the comments of `values.yaml`. Unknown keys are refused.

| Value | Default | Meaning |
|---|---|---|
"""


def rows(text):
    path, comment = [], ""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        found = re.match(r"^( *)# -- (.*)$", line)
        if found:
            comment = found.group(2)
            continue
        more = re.match(r"^ *# (.*)$", line)
        if more and comment:
            comment += " " + more.group(1)
            continue
        found = re.match(r"^( *)([A-Za-z][A-Za-z0-9]*):(?: (.*))?$", line)
        if not found:
            continue
        depth, name, value = len(found.group(1)) // 2, found.group(2), found.group(3)
        path = path[:depth] + [name]
        if value is None and name not in ("workers", "resources", "podSecurityContext") and re.match(r"^ {%d}" % (2 * depth + 2), lines[i + 1]):
            continue  # a group: its members are told one by one
        if value is None:
            members = []
            for more in lines[i + 1 :]:
                if more.strip() and len(more) - len(more.lstrip()) <= 2 * depth:
                    break
                members.append(more.strip())
            value = "; ".join(m for m in members if m)
        yield ".".join(path), value, comment
        comment = ""


def main():
    text = open(sys.argv[1] + "/values.yaml").read()
    out = HEAD
    for name, value, comment in rows(text):
        if re.match(r"^(workers|.*resources|podSecurityContext)\.", name):
            continue
        out += "| `%s` | `%s` | %s |\n" % (name, value.replace("|", "\\|"), comment.replace("|", "\\|").replace("<", "\\<").replace(">", "\\>"))
    sys.stdout.write(out)


main()
