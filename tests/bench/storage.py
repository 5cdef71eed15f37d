#!/usr/bin/env python3
"""./run bench storage, beside a running S3 server (S3_ENDPOINT and so on in the environment): our client, boto3's transfer manager and
rclone. storage.py BENCH_STORAGE RCLONE [SMALL LARGE_MIB KEYS]; storage.py boto3 put|get|list ... is one boto3 run by itself."""
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SMALL_BYTES, LANES = 200_000, 8


# ---- boto3, as its documentation shows it ----

def boto3_client():
    import boto3
    from botocore.config import Config
    return boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name=os.environ["S3_REGION"],
                        config=Config(s3={"addressing_style": "path"}, max_pool_connections=LANES))


def boto3_transfer(s3, what, folder, prefix):
    from boto3.s3.transfer import TransferConfig, create_transfer_manager
    bucket = os.environ["S3_BUCKET"]
    config = TransferConfig(max_concurrency=LANES, multipart_threshold=16 << 20, multipart_chunksize=16 << 20)
    with create_transfer_manager(s3, config) as manager:
        if what == "put":
            futures = [manager.upload(os.path.join(folder, name), bucket, prefix + name) for name in sorted(os.listdir(folder))]
        else:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            keys = [o["Key"] for page in pages for o in page["Contents"]]
            futures = [manager.download(bucket, key, os.path.join(folder, os.path.basename(key))) for key in keys]
        for future in futures:
            future.result()


def boto3_main(what, prefix, folder=None):
    s3 = boto3_client()
    cpu, begin = time.process_time(), time.monotonic()  # without the start of Python and its imports
    if what == "list":
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=os.environ["S3_BUCKET"], Prefix=prefix)
        print(sum(len(page["Contents"]) for page in pages), file=sys.stderr)
    else:
        boto3_transfer(s3, what, folder, prefix)
    print(json.dumps([time.monotonic() - begin, time.process_time() - cpu]))


# ---- one run, measured ----

class Peak(threading.Thread):
    """Peak resident memory of a process, looked at while it runs: what wait tells is at least this program's own."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path, self.kib = f"/proc/{pid}/status", 0
        self.start()

    def run(self):
        while True:
            try:
                with open(self.path) as f:
                    self.kib = max(self.kib, *[int(line.split()[1]) for line in f if line.startswith("VmHWM")])
            except (OSError, TypeError):  # gone, or a zombie, which has no memory
                return
            time.sleep(.01)

    def bytes(self):
        self.join()
        return self.kib * 1024


LONGEST_S = 300  # a run that takes longer is an error, not a figure


def run(command):
    """Seconds, CPU seconds, peak bytes of a program; boto3 tells its own times."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as complaint:
        begin = time.monotonic()
        child = subprocess.Popen(command, stdout=out, stderr=complaint)
        peak, end = Peak(child.pid), threading.Timer(LONGEST_S, os.kill, (child.pid, signal.SIGKILL))
        end.start()
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begin
        end.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), complaint.seek(0)
        if seconds >= LONGEST_S:
            sys.exit(f"storage.py: {' '.join(command[:4])} did not end within {LONGEST_S} s")
        if child.returncode:
            sys.exit(f"storage.py: {' '.join(command[:4])} failed: {complaint.read().decode()[-500:]}")
        said = out.read()
    cpu = used.ru_utime + used.ru_stime
    if said.startswith(b"["):
        seconds, cpu = json.loads(said)
    return seconds, cpu, peak.bytes()


def ours(bench, what, prefix, folder=None):
    url = f"s3://{os.environ['S3_BUCKET']}/{prefix.rstrip('/')}"
    words = {"put": [f"file://{folder}", url], "get": [url, folder], "list": [url]}[what]
    return [bench, what, *words]


def boto3(_, what, prefix, folder=None):
    return [sys.executable, __file__, "boto3", what, prefix, *([folder] if folder else [])]


def rclone(binary, what, prefix, folder=None):
    there = f"s3:{os.environ['S3_BUCKET']}/{prefix.rstrip('/')}"
    flags = ["--transfers", str(LANES), "--checkers", str(LANES), "--s3-upload-concurrency", str(LANES), "--s3-chunk-size", "16Mi",
             "--multi-thread-streams", str(LANES), "--multi-thread-chunk-size", "16Mi", "--multi-thread-cutoff", "16Mi"]
    if what == "list":
        return [binary, "lsf", "--files-only", "--fast-list", there]
    return [binary, "copy", "--no-check-dest", *flags, *([folder, there] if what == "put" else [there, folder])]


# boto3 has the server keep a CRC-32 of what it puts, unless told otherwise: so do we
ENVIRONMENT = {"MFFA_S3_CONCURRENCY": str(LANES), "MFFA_S3_CHECKSUM": "crc32", "RCLONE_CONFIG_S3_TYPE": "s3", "RCLONE_CONFIG_S3_PROVIDER": "Other",
               "RCLONE_CONFIG_S3_ENV_AUTH": "true", "RCLONE_CONFIG_S3_FORCE_PATH_STYLE": "true", "RCLONE_S3_NO_CHECK_BUCKET": "true",
               "RCLONE_CONFIG": "/dev/null"}


def make(folder, count, size):
    os.mkdir(folder)
    for i in range(count):
        with open(os.path.join(folder, f"{i:05d}.png"), "wb") as f:
            for left in range(size, 0, -(1 << 20)):
                f.write(os.urandom(min(left, 1 << 20)))


def check(folder, source, copies):
    """What was fetched is what was put: the sum of sizes, and of our cache (whose names are hashes) too."""
    def total(at):
        return sum(os.path.getsize(os.path.join(at, name)) for name in os.listdir(at))
    if total(folder) != total(source):
        sys.exit(f"storage.py: {copies} fetched {total(folder)} bytes of {total(source)}")


ROUNDS = 5


def median(runs):
    return sorted(runs)[len(runs) // 2]


def measure(clients, title, what, prefix, dir_, source):
    """Every client ROUNDS times, in turns; the run of median time."""
    runs = {name: [] for name in clients}
    for i in range(ROUNDS):
        for name, (make_command, binary) in clients.items():
            folder = source
            if what == "get":
                folder = os.path.join(dir_, "got")
                os.mkdir(folder)
            runs[name].append(run(make_command(binary, what, prefix, folder if what != "list" else None)))
            print(f"storage.py: {title}: {name}, run {i + 1} of {ROUNDS}: {runs[name][-1][0]:.2f} s", file=sys.stderr, flush=True)
            if what == "get":
                check(folder, source, name)
                shutil.rmtree(folder)
    return {name: median(r) for name, r in runs.items()}


def table(title, figures, gigabytes, count, unit):
    print(f"\n| {title} | Seconds | {unit} | CPU s{' per GB' if gigabytes else ''} | Peak memory |\n|---|---|---|---|---|")
    for name, (seconds, cpu, peak) in figures.items():
        rate = f"{count / seconds:.0f}" if count else f"{gigabytes * 1000 / seconds:.0f}"
        print(f"| {name} | {seconds:.2f} | {rate} | {cpu / gigabytes if gigabytes else cpu:.2f} | {peak / (1 << 20):.0f} MiB |")


def large_default():
    """Ceph RGW keeps its objects in memory, 4 GiB of it, and those that are put over for hours too; then it waits for ever."""
    return "256" if os.environ["S3_SERVER"] == "rgw" else "1024"


def main(bench, rclone_binary, small="1000", large_mib=None, keys="10000"):
    large_mib = large_mib or large_default()
    os.environ.update(ENVIRONMENT, AWS_ACCESS_KEY_ID=os.environ["S3_OWNER_KEY"], AWS_SECRET_ACCESS_KEY=os.environ["S3_OWNER_SECRET"],
                      MFFA_S3_ENDPOINT=os.environ["S3_ENDPOINT"], MFFA_S3_REGION=os.environ["S3_REGION"],
                      RCLONE_CONFIG_S3_ENDPOINT=os.environ["S3_ENDPOINT"], RCLONE_CONFIG_S3_REGION=os.environ["S3_REGION"])
    small, large_bytes, keys = int(small), int(large_mib) << 20, int(keys)
    clients = {"MFFA": (ours, bench), "boto3": (boto3, None), **({"rclone": (rclone, rclone_binary)} if rclone_binary else {})}
    with tempfile.TemporaryDirectory(prefix="mffa-bench-s3.") as dir_:
        for name, count, size in ("small", small, SMALL_BYTES), ("large", 1, large_bytes), ("keys", keys, 0):
            make(os.path.join(dir_, name), count, size)
        for name, title, count, gigabytes in (("small", f"{small} objects of 200 KB", small, small * SMALL_BYTES / 1e9),
                                              ("large", f"1 object of {large_mib} MiB", 0, large_bytes / 1e9)):
            source = os.path.join(dir_, name)
            for what in "put", "get":
                figures = measure(clients, f"{what} {title}", what, f"bench/{name}/", dir_, source)
                table(f"{what} {title}", figures, gigabytes, count, "Objects/s" if count else "MB/s")
        run(ours(bench, "put", "bench/keys/", os.path.join(dir_, "keys")))
        title = f"list {keys} keys"
        table(title, measure(clients, title, "list", "bench/keys/", dir_, None), 0, keys, "Keys/s")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    if sys.argv[1] == "boto3":
        boto3_main(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
