#!/usr/bin/env python3
"""A node whose pods are processes of this machine: the programs themselves, with the variables, volumes, readiness and grace period that
their pods name, but without containers (tests/docker has those). Liveness is not asked: what ends is started again.
    node.py ADMIN.CONF NAME DIR IMAGE=PROGRAM...      logs and volumes lie in DIR; TERM ends it and its pods"""
import base64, json, os, re, signal, socket, ssl, subprocess, sys, time, urllib.error, urllib.request

ROUND_S, HEARTBEAT_S, RESTART_S = 0.2, 5, 1


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Api:
    def __init__(self, conf):
        text = open(conf).read()
        self.server, authority = re.search(r'server: "([^"]+)", certificate-authority: "([^"]+)"', text).groups()
        self.token = re.search(r"token: (\w+)", text).group(1)
        self.trust = ssl.create_default_context(cafile=authority)

    def call(self, method, path, body=None, patch="strategic-merge"):
        kind = "application/%s-patch+json" % patch if method == "PATCH" else "application/json"
        request = urllib.request.Request(self.server + path, json.dumps(body).encode() if body is not None else None, method=method,
                                         headers={"Authorization": "Bearer " + self.token, "Content-Type": kind})
        with urllib.request.urlopen(request, context=self.trust, timeout=20) as answer:
            return json.load(answer)


class Pod:
    def __init__(self, node, pod):
        self.node, self.name, self.space, self.uid = node, pod["metadata"]["name"], pod["metadata"]["namespace"], pod["metadata"]["uid"]
        self.spec, self.container = pod["spec"], pod["spec"]["containers"][0]
        self.path = "/api/v1/namespaces/%s/pods/%s" % (self.space, self.name)
        self.folder = os.path.join(node.folder, self.space, self.name)
        self.ports = {p["name"]: free_port() for p in self.container.get("ports", [])}
        self.restarts, self.told, self.stop_at, self.start_at, self.process, self.was_ready = 0, None, None, 0, None, False
        self.mounts = {}
        folders = {v["name"]: self.volume(v) for v in self.spec.get("volumes", [])}
        for m in self.container.get("volumeMounts", []):
            self.mounts[m["mountPath"]] = folders[m["name"]]

    def volume(self, v):
        folder = os.path.join(self.folder, v["name"])
        os.makedirs(folder, exist_ok=True)
        if "secret" in v or "configMap" in v:
            source, kind = (v["secret"], "secrets") if "secret" in v else (v["configMap"], "configmaps")
            name = source.get("secretName") or source.get("name")
            data = self.node.api.call("GET", "/api/v1/namespaces/%s/%s/%s" % (self.space, kind, name)).get("data", {})
            for item in source.get("items") or [{"key": k, "path": k} for k in data]:
                value = data[item["key"]]
                with open(os.path.join(folder, item["path"]), "wb") as f:
                    f.write(base64.b64decode(value) if kind == "secrets" else value.encode())
        return folder

    def here(self, text):  # a path inside the pod becomes one of this machine
        paths = "|".join(re.escape(path) for path in sorted(self.mounts, key=len, reverse=True))
        if paths:
            text = re.sub(r"(?<![\w/.:-])(" + paths + r")(?=/|,|$)", lambda m: self.mounts[m.group(1)], text)
        for p in self.container.get("ports", []):
            if text == ":%d" % p["containerPort"]:
                text = "127.0.0.1:%d" % self.ports[p["name"]]
        return text

    def variable(self, e):
        if "value" in e:
            return self.here(e["value"])
        ref = e["valueFrom"]["secretKeyRef"]
        data = self.node.api.call("GET", "/api/v1/namespaces/%s/secrets/%s" % (self.space, ref["name"])).get("data", {})
        return base64.b64decode(data[ref["key"]]).decode() if ref["key"] in data else None

    def start(self):
        env = {"PATH": os.environ["PATH"], "TMPDIR": self.mounts.get("/tmp", self.folder)}
        env.update({e["name"]: v for e in self.container.get("env", []) for v in [self.variable(e)] if v is not None})
        with open(os.path.join(self.node.folder, self.name + ".log"), "ab") as log:
            self.process = subprocess.Popen([self.node.programs[self.container["image"]]] + [self.here(a) for a in self.container.get("args", [])],
                                            env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)

    def ready(self):
        probe = self.container.get("readinessProbe")
        if not probe:
            return True
        try:
            url = "http://127.0.0.1:%d%s" % (self.ports[probe["httpGet"]["port"]], probe["httpGet"]["path"])
            return urllib.request.urlopen(url, timeout=2).status == 200
        except OSError:
            return False

    def tell(self, phase, ready, state):
        if self.told == (phase, ready, self.restarts):
            return
        status = "True" if ready else "False"
        self.node.api.call("PATCH", self.path + "/status", {"status": {
            "phase": phase, "hostIP": "127.0.0.1", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}], "startTime": now(),
            "conditions": [{"type": t, "status": "True" if t == "Initialized" else status, "lastTransitionTime": now()}
                           for t in ("Initialized", "ContainersReady", "Ready")],
            "containerStatuses": [{"name": self.container["name"], "image": self.container["image"], "imageID": "process", "ready": ready,
                                   "started": phase == "Running", "restartCount": self.restarts, "state": state}]}})
        self.told = phase, ready, self.restarts

    def step(self, pod):  # False: it is gone
        code = self.process.poll() if self.process else None
        if pod["metadata"].get("deletionTimestamp"):
            if self.process and code is None:
                if self.stop_at is None:
                    self.stop_at = time.monotonic() + pod["metadata"].get("deletionGracePeriodSeconds", 30)
                    self.process.send_signal(signal.SIGTERM)
                elif time.monotonic() > self.stop_at:
                    self.process.kill()
                return True
            begun = self.was_ready or code != -signal.SIGTERM
            self.node.note("%s ended with %s" % (self.name, code) if begun else "%s was stopped before it had begun" % self.name)
            self.node.api.call("DELETE", self.path, {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})
            return False
        if self.process is None and self.told is None or code is not None and time.monotonic() > self.start_at:
            if code is not None and self.spec["restartPolicy"] == "Never":
                self.tell("Failed" if code else "Succeeded", False, {"terminated": {"exitCode": code, "startedAt": now(), "finishedAt": now()}})
                return True
            self.restarts += code is not None
            self.start_at = time.monotonic() + RESTART_S
            self.start()
        ready = self.ready()
        self.was_ready = self.was_ready or ready
        self.tell("Running", ready, {"running": {"startedAt": now()}})
        return True


class Node:
    def __init__(self, conf, name, folder, programs):
        self.api, self.name, self.folder, self.programs, self.pods = Api(conf), name, os.path.abspath(folder), programs, {}
        self.beat_at = 0
        self.api.call("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}}})

    def note(self, text):
        with open(os.path.join(self.folder, "node.log"), "a") as f:
            f.write("%s %s\n" % (now(), text))

    def heartbeat(self):
        if time.monotonic() < self.beat_at:
            return
        self.beat_at = time.monotonic() + HEARTBEAT_S
        room = {"cpu": "64", "memory": "64Gi", "pods": "50", "ephemeral-storage": "500Gi"}
        ready = {"type": "Ready", "status": "True", "reason": "Process", "lastHeartbeatTime": now(), "lastTransitionTime": now()}
        self.api.call("PATCH", "/api/v1/nodes/%s/status" % self.name, {"status": {"capacity": room, "allocatable": room, "conditions": [ready]}})

    def round(self):
        self.heartbeat()
        listed = self.api.call("GET", "/api/v1/pods?fieldSelector=spec.nodeName=" + self.name)["items"]
        for pod in listed:
            uid = pod["metadata"]["uid"]
            if uid not in self.pods:
                self.pods[uid] = Pod(self, pod)
            if self.pods[uid] and not self.pods[uid].step(pod):
                self.pods[uid] = None
        for uid in set(self.pods) - {p["metadata"]["uid"] for p in listed}:
            gone = self.pods.pop(uid)
            if gone and gone.process and gone.process.poll() is None:
                self.note("%s was removed without its grace period" % gone.name)
                gone.process.kill()

    def stop(self):
        running = [p.process for p in self.pods.values() if p and p.process and p.process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def main():
    conf, name, folder = sys.argv[1:4]
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    node = Node(conf, name, folder, dict(a.split("=", 1) for a in sys.argv[4:]))
    while not stopping:
        try:
            node.round()
        except (urllib.error.URLError, OSError) as e:
            node.note("%s%s" % (e, ": " + e.read().decode()[:300] if isinstance(e, urllib.error.HTTPError) else ""))
        time.sleep(ROUND_S)
    node.stop()


main()
