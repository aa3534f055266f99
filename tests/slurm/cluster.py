"""A throw-away Slurm on this host: slurmctld and some slurmd from Debian's packages, on loopback, without munge.

As root each node gets its own host name and /etc/hosts (name spaces), so that everything stays on 127.0.0.1. Without root
all nodes share the host's name and its address.
"""
import atexit
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
SlurmctldHost={controller}
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
ProctrackType=proctrack/{process}
TaskPlugin=task/{task}
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={dir}/completed
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,bf_interval=1,batch_sched_delay=0{scheduler}
JobRequeue=1
ReturnToService=2
KillWait=5
MinJobAge=600
SlurmdTimeout={silence}
InactiveLimit=0
{node_lines}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 DefMemPerCPU=1000
"""

ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={port}
"""

ACCOUNTING_DAEMON = """
AuthType=auth/none
CommunicationParameters=NoInAddrAny
DbdHost=localhost
DbdPort={port}
SlurmUser={user}
LogFile={dir}/log/slurmdbd.log
PidFile={dir}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
"""


def available(accounting=False):
    programs = ["slurmctld", "slurmd", "sbatch"] + (["slurmdbd", "mariadbd", "mariadb-install-db"] if accounting else [])
    return all(shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") for name in programs)


def _can_unshare():
    return os.geteuid() == 0 and subprocess.run(["unshare", "--uts", "--mount", "true"], capture_output=True).returncode == 0


def _port_is_free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Cluster:
    """with Cluster(nodes=2) as cluster: cluster.run("sinfo")"""

    def __init__(self, nodes=2, cpus=4, gpus=2, more="", silence=60, link=False, memory=False,
                 devices=False, accounting=False, scheduler="", types=()):
        """more: further lines of slurm.conf, after the partition `main`. silence: seconds after which Slurm gives up a node.
        link: the last node has a network of its own, and a link that can be cut (root). memory, devices: jobs are held to
        theirs by cgroups (root). accounting: slurmdbd keeps accounts of the jobs, in a MariaDB. scheduler: added to its
        parameters. types: of the GPUs, as many of each."""
        self.scheduler = scheduler
        self.more, self.silence, self.memory, self.devices, self.accounting = more, silence, memory, devices, accounting
        self.space = f"rsl-{os.getpid()}" if link else None
        self.network = f"10.{random.randrange(64, 128)}.{random.randrange(256)}"
        self.nodes, self.cpus, self.gpus, self.types = nodes, cpus, gpus, types
        # Short: slurmstepd's socket must fit into 108 bytes.
        self.dir = tempfile.mkdtemp(prefix="rsl-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.daemons = []  # slurmctld, and the slurmd of each node
        self.accountants = []  # mariadbd, slurmdbd
        # A TMPDIR of its own: what lies there when all jobs are over, one of them left.
        self.env = {**os.environ, "SLURM_CONF": f"{self.dir}/slurm.conf", "TMPDIR": f"{self.dir}/tmp",
                    "PATH": os.environ["PATH"] + ":/usr/sbin"}

    def __enter__(self):
        atexit.register(self.stop)  # Ctrl-C passes by unittest's clean-ups
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *unused):
        self.stop()

    def run(self, *argv, check=True, timeout=60, **options):
        if self.space and self.daemons:
            argv = ["nsenter", f"--target={self.daemons[0].pid}", "--uts", "--mount", *argv]  # where nodes' names are known
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

    def unix_sockets(self):
        """The kernel's lists of the nodes' Unix sockets, one line a socket."""
        text = ""
        for path in self._of_nodes("net/unix"):
            with open(path) as stream:
                text += stream.read()
        return text

    def shared_memory(self):
        """(device, name) of our files in the nodes' /dev/shm."""
        return {(entry.stat().st_dev, entry.name) for path in self._of_nodes("root/dev/shm") for entry in os.scandir(path)
                if entry.stat().st_uid == os.geteuid()}

    def _of_nodes(self, place):
        return [f"/proc/{daemon.pid}/{place}" for daemon in self.daemons[1:] if daemon.poll() is None]

    def logs(self):
        text = ""
        for name in sorted(os.listdir(f"{self.dir}/log")):
            with open(f"{self.dir}/log/{name}", errors="replace") as stream:
                text += f"--- {name}\n" + "".join(stream.readlines()[-6:])
        return text

    def _start(self):
        for name in ("state", "log", "dev", "tmp"):
            os.mkdir(f"{self.dir}/{name}")
        # A GPU must be a character device, or CUDA_VISIBLE_DEVICES stays empty.
        for gpu in range(self.gpus):
            os.symlink(["/dev/zero", "/dev/full"][gpu] if self.devices else "/dev/null", f"{self.dir}/dev/nvidia{gpu}")
        with open(f"{self.dir}/hosts", "w") as stream:
            names = [f"node{n + 1}" for n in range(self.nodes)]
            if self.space:
                self._lay_link()
                stream.write(f"{self.network}.2 {names.pop()}\n{self.network}.1 {' '.join(names)} head\n")
                names = []
            stream.write(f"127.0.0.1 localhost {socket.gethostname()} {' '.join(names)}\n")
        self.separate = _can_unshare()
        base = next(p for p in (random.randrange(20000, 30000) for _ in range(1000))
                    if all(_port_is_free(p + n) for n in range(self.nodes + 2)))
        address = "127.0.0.1" if self.separate else socket.gethostbyname(socket.gethostname())
        if self.space:
            address = f"{self.network}.1"
        node_lines = "\n".join(f"NodeName=node{n} NodeHostname=localhost NodeAddr={self._address(n, address)} Port={base + n} "
                               f"CPUs={self.cpus} RealMemory=8000 Gres={self._gres()}" for n in range(1, self.nodes + 1))
        conf = CONF.format(dir=self.dir, port=base, node_lines=node_lines, scheduler=self.scheduler,
                           controller=f"head({address})" if self.space else "localhost", silence=self.silence,
                           process="cgroup" if self.memory or self.devices else "linuxproc",
                           task="cgroup" if self.memory or self.devices else "none",
                           user=pwd.getpwuid(os.geteuid()).pw_name)
        cgroups = "CgroupPlugin=cgroup/v1\n" + ("ConstrainRAMSpace=yes\n" if self.memory else "")
        cgroups += "ConstrainDevices=yes\n" if self.devices else ""
        if self.accounting:
            conf += ACCOUNTING.format(port=base + self.nodes + 1)
        for name, text in (("slurm.conf", conf + self.more), ("cgroup.conf", cgroups),
                           ("gres.conf", "AutoDetect=off\n" + "".join(self._gpu_lines()))):
            with open(f"{self.dir}/{name}", "w") as stream:
                stream.write(text)
        if self.accounting:
            self._start_accounting(base + self.nodes + 1)
        self.daemons.append(self._spawn("slurmctld", self._slurmctld()))
        for n in range(1, self.nodes + 1):
            self.daemons.append(self._spawn(f"node{n}", self._slurmd(n)))
        self.wait("all nodes idle", self._all_idle, 30)

    def _gres(self):
        return ",".join(f"gpu:{kind}:{self.gpus // len(self.types)}" for kind in self.types) or f"gpu:{self.gpus}"

    def _gpu_lines(self):
        """Of gres.conf: the first GPUs are of the first type."""
        each = self.gpus // max(len(self.types), 1)
        for place, kind in enumerate(self.types or [None]):
            devices = f"File={self.dir}/dev/nvidia[{place * each}-{place * each + each - 1}]\n"
            yield f"Name=gpu {f'Type={kind} ' if kind else ''}{devices}"

    def _start_accounting(self, port):
        """As the system's accounts of a site, but reached over a Unix socket in a directory that is ours alone."""
        place = f"{self.dir}/accounting"
        owner = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # root's MariaDB does not start
        os.mkdir(place, 0o700)
        shutil.chown(place, owner)
        where = ["--no-defaults", f"--datadir={place}", f"--user={owner}"]
        self.run("env", f"TMPDIR={place}", "mariadb-install-db", *where, "--skip-test-db", "--auth-root-authentication-method=normal")
        self.accountants.append(self._spawn("mariadbd", ["mariadbd", *where, "--skip-networking", f"--socket={place}/socket"],
                                            TMPDIR=place))
        self.wait("MariaDB", lambda: self._answers(f"{place}/socket"), 30)
        with open(os.open(f"{self.dir}/slurmdbd.conf", os.O_WRONLY | os.O_CREAT, 0o600), "w") as stream:
            stream.write(ACCOUNTING_DAEMON.format(dir=self.dir, port=port, user=pwd.getpwuid(os.geteuid()).pw_name))
        daemon = self._named("localhost", "slurmdbd -D") if self.separate else ["slurmdbd", "-D"]
        self.accountants.append(self._spawn("slurmdbd", daemon, MYSQL_UNIX_PORT=f"{place}/socket"))
        self.wait("slurmdbd", lambda: self.run("sacctmgr", "--noheader", "show", "cluster", check=False).returncode == 0, 30)
        self.run("sacctmgr", "--immediate", "add", "cluster", "rungtest")

    @staticmethod
    def _answers(path):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(path) == 0

    def _slurmctld(self):
        # It listens where its host's name leads; with a link that must be an address which the last node reaches.
        return self._named("head", "slurmctld -D") if self.space else ["slurmctld", "-D"]

    def _named(self, host, command):
        gpus = ""
        if self.devices:  # where a program looks for them: in a /dev of the node's own
            own = f"{self.dir}/dev-{host}"
            gpus = (f"mkdir {own} && mount -t tmpfs none {own} && cp -ax /dev/. {own} && cp -a {self.dir}/dev/. {own} && "
                    f"mount --bind {own} /dev && ")
        return ["unshare", "--uts", "--mount", "bash", "-c",
                f"hostname {host} && mount --bind {self.dir}/hosts /etc/hosts && {gpus}mount -t tmpfs none /dev/shm && exec {command}"]

    def _slurmd(self, n):
        if not self.separate:
            return ["slurmd", "-D", "-N", f"node{n}"]
        place = ["ip", "netns", "exec", self.space] if self.space and n == self.nodes else []
        return [*place, *self._named(f"node{n}", f"slurmd -D -N node{n}")]

    def _address(self, n, others):
        return f"{self.network}.2" if self.space and n == self.nodes else others

    def _lay_link(self):
        ip = lambda *words: subprocess.run(["ip", *words], check=True, capture_output=True)
        inside = ["-n", self.space]
        ip("netns", "add", self.space)
        ip("link", "add", self.space, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        ip("address", "add", f"{self.network}.1/30", "dev", self.space)
        ip("link", "set", self.space, "up")
        ip(*inside, "address", "add", f"{self.network}.2/30", "dev", "eth0")
        ip(*inside, "link", "set", "eth0", "up")
        ip(*inside, "link", "set", "lo", "up")

    def set_link(self, state):
        """"down": nothing reaches the last node nor leaves it, and all on it lives on; "up"."""
        subprocess.run(["ip", "link", "set", self.space, state], check=True)

    def _spawn(self, name, argv, **environment):
        with open(f"{self.dir}/log/{name}.out", "a") as log:
            return subprocess.Popen(argv, env={**self.env, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    start_new_session=True)

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
        self.daemons[0].terminate()  # killed it would forget, and number anew, the jobs of its last seconds
        self.daemons[0].wait()
        self.daemons[0] = self._spawn("slurmctld", self._slurmctld())
        self.wait("the controller", lambda: self.run("scontrol", "ping", check=False).returncode == 0, 30)

    def start_node(self, n):
        self.daemons[n] = self._spawn(f"node{n}", self._slurmd(n))
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
        for daemon in self.daemons + self.accountants[::-1]:
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
        if self.space:
            subprocess.run(["ip", "link", "delete", self.space], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "delete", self.space], check=False, capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)
