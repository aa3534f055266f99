"""A throw-away Slurm on this host: slurmctld and some slurmd from Debian's packages, on loopback, without munge.

As root each node gets its own host name and /etc/hosts (name spaces), so that everything stays on 127.0.0.1. Without root
all nodes share the host's name and its address.
"""
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

# Waits are so many times longer than an idle machine needs: a loaded one must not fail a test. What can be seen to have gone
# wrong (a job that ended, a daemon that died) fails at once.
PATIENCE = 6

CONF = """
ClusterName=rungtest
SlurmctldHost=localhost
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
# A requeued job may start again one second after this; 5 is the least, the default is two minutes.
AuthInfo=cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/%n
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd-%n.pid
SlurmctldLogFile={dir}/log/slurmctld.log
SlurmdLogFile={dir}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,bf_interval=1,batch_sched_delay=0
JobRequeue=1
ReturnToService=2
KillWait=5
MinJobAge=600
SlurmdTimeout=60
InactiveLimit=0
NodeName=node[1-{nodes}] NodeHostname=localhost NodeAddr={address} Port=[{first}-{last}] CPUs={cpus} RealMemory=8000 Gres=gpu:{gpus}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 DefMemPerCPU=1000
"""


def available():
    return all(shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") for name in ("slurmctld", "slurmd", "sbatch"))


def _can_unshare():
    return os.geteuid() == 0 and subprocess.run(["unshare", "--uts", "--mount", "true"], capture_output=True).returncode == 0


def _port_is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Cluster:
    """with Cluster(nodes=2) as cluster: cluster.run("sinfo")"""

    def __init__(self, nodes=2, cpus=4, gpus=2, more=""):
        """more: further lines of slurm.conf, after the partition `main`."""
        self.more = more
        self.nodes, self.cpus, self.gpus = nodes, cpus, gpus
        # Short: slurmstepd's socket must fit into 108 bytes.
        self.dir = tempfile.mkdtemp(prefix="rsl-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.daemons = []
        self.env = {**os.environ, "SLURM_CONF": f"{self.dir}/slurm.conf",
                    "PATH": os.environ["PATH"] + ":/usr/sbin"}

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *unused):
        self.stop()

    def run(self, *argv, check=True, timeout=60, **options):
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False, timeout=timeout * PATIENCE,
                              stdin=subprocess.DEVNULL, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def job(self, number):
        """key -> value of `scontrol show job`."""
        shown = self.run("scontrol", "--oneliner", "show", "job", str(number)).stdout
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def wait(self, what, condition, seconds, logs=lambda: ""):
        """The first true value of condition(), looked at ten times a second. `seconds`: what an idle machine may need; an
        AssertionError with logs() after PATIENCE times that."""
        end = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds * PATIENCE} s: {what}\n{self.logs()}\n{logs()}")

    def logs(self):
        text = ""
        for name in sorted(os.listdir(f"{self.dir}/log")):
            with open(f"{self.dir}/log/{name}", errors="replace") as stream:
                text += f"--- {name}\n" + "".join(stream.readlines()[-6:])
        return text

    def _start(self):
        for name in ("state", "log", "dev"):
            os.mkdir(f"{self.dir}/{name}")
        # A GPU must be a character device, or CUDA_VISIBLE_DEVICES stays empty.
        for gpu in range(self.gpus):
            os.symlink("/dev/null", f"{self.dir}/dev/nvidia{gpu}")
        with open(f"{self.dir}/hosts", "w") as stream:
            names = " ".join(f"node{n + 1}" for n in range(self.nodes))
            stream.write(f"127.0.0.1 localhost {socket.gethostname()} {names}\n")
        self.separate = _can_unshare()
        base = next(p for p in (random.randrange(20000, 30000) for _ in range(1000))
                    if all(_port_is_free(p + n) for n in range(self.nodes + 1)))
        address = "127.0.0.1" if self.separate else socket.gethostbyname(socket.gethostname())
        conf = CONF.format(dir=self.dir, port=base, first=base + 1, last=base + self.nodes, nodes=self.nodes, cpus=self.cpus,
                           gpus=self.gpus, address=address, user=pwd.getpwuid(os.geteuid()).pw_name)
        for name, text in (("slurm.conf", conf + self.more), ("cgroup.conf", "CgroupPlugin=cgroup/v1\n"),
                           ("gres.conf", f"AutoDetect=off\nName=gpu File={self.dir}/dev/nvidia[0-{self.gpus - 1}]\n")):
            with open(f"{self.dir}/{name}", "w") as stream:
                stream.write(text)
        self._spawn("slurmctld", ["slurmctld", "-D"])
        for n in range(1, self.nodes + 1):
            self._spawn(f"node{n}", self._slurmd(n))
        self.wait("all nodes idle", self._all_idle, 30)

    def _slurmd(self, n):
        if not self.separate:
            return ["slurmd", "-D", "-N", f"node{n}"]
        return ["unshare", "--uts", "--mount", "bash", "-c",
                f"hostname node{n} && mount --bind {self.dir}/hosts /etc/hosts && exec slurmd -D -N node{n}"]

    def _spawn(self, name, argv, place=None):
        with open(f"{self.dir}/log/{name}.out", "a") as log:
            daemon = subprocess.Popen(argv, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      start_new_session=True)
        if place is None:
            self.daemons.append(daemon)
        else:
            self.daemons[place] = daemon

    def _all_idle(self):
        dead = [d.args for d in self.daemons if d.poll() is not None]
        if dead:
            raise AssertionError(f"a daemon ended: {dead}\n{self.logs()}")
        idle = self.run("sinfo", "-h", "-t", "idle", "-o", "%D", check=False, timeout=10)
        return idle.stdout.strip() == str(self.nodes)

    def _ours(self, pid):
        """A process of this cluster's jobs or a slurmstepd: known by our SLURM_CONF, so never somebody else's."""
        try:
            with open(f"/proc/{pid}/environ", "rb") as stream:
                entries = stream.read().split(b"\0")
        except OSError:
            return False
        return f"SLURM_CONF={self.dir}/slurm.conf".encode() in entries and int(pid) != os.getpid()

    def kill_node(self, n):
        """The node's sudden death: its slurmd and all that runs on it, with SIGKILL. Slurm hears of it at once."""
        daemon = self.daemons[n]
        place = self._place(daemon.pid)
        daemon.kill()
        daemon.wait()
        for _ in range(3):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                if self._ours(pid) and (self._place(pid) == place if self.separate else self._on_node(pid, n)):
                    try:
                        os.kill(int(pid), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
        self.run("scontrol", "update", f"NodeName=node{n}", "State=DOWN", "Reason=died")

    def restart_controller(self):
        self.daemons[0].kill()
        self.daemons[0].wait()
        self._spawn("slurmctld", ["slurmctld", "-D"], place=0)
        self.wait("the controller", lambda: self.run("scontrol", "ping", check=False).returncode == 0, 30)

    def start_node(self, n):
        self._spawn(f"node{n}", self._slurmd(n), place=n)
        self.run("scontrol", "update", f"NodeName=node{n}", "State=RESUME", check=False)

    @staticmethod
    def _place(pid):
        """The name space that tells the processes of one node from another's."""
        try:
            return os.readlink(f"/proc/{pid}/ns/uts")
        except OSError:
            return None

    def _on_node(self, pid, n):
        try:
            with open(f"/proc/{pid}/environ", "rb") as stream:
                return f"SLURMD_NODENAME=node{n}".encode() in stream.read().split(b"\0")
        except OSError:
            return False

    def stop(self):
        if self.daemons and self.daemons[0].poll() is None:
            try:
                self.run("scancel", "--full", "--user", pwd.getpwuid(os.geteuid()).pw_name, check=False, timeout=10)
            except subprocess.TimeoutExpired:
                pass  # the daemons go next
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait()
        for _ in range(3):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                if self._ours(pid):
                    try:
                        os.kill(int(pid), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
        shutil.rmtree(self.dir, ignore_errors=True)
