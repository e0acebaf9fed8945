"""The system calls that a program in the sandbox may not make.

A program is one process with a few threads: it can start no other, so that the limit on its address space bounds
its memory. It can neither make memory that this limit does not count, nor new namespaces, nor sockets of any
family, nor send signals or look into another process.
"""

from __future__ import annotations

import errno
import functools
import tempfile

from langchain_avengers.errors import SandboxError

CLONE_THREAD = 0x00010000

REFUSED = """
    fork vfork execve execveat kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open
    pidfd_send_signal pidfd_getfd ptrace process_vm_readv process_vm_writev process_madvise
    process_mrelease kcmp memfd_create memfd_secret shmget shmat shmctl shmdt semget semop
    semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink unshare setns mount umount
    umount2 pivot_root chroot mount_setattr move_mount open_tree fsopen fsconfig fsmount fspick
    open_by_handle_at name_to_handle_at socket bind connect listen accept accept4 bpf userfaultfd
    perf_event_open io_uring_setup io_uring_enter io_uring_register add_key request_key keyctl
    personality init_module finit_module delete_module kexec_load kexec_file_load reboot swapon
    swapoff acct quotactl settimeofday clock_settime adjtimex clock_adjtime sethostname
    setdomainname syslog vhangup setpriority ioprio_set sched_setscheduler sched_setparam
    sched_setattr sched_setaffinity inotify_init inotify_init1 inotify_add_watch fanotify_init
    modify_ldt ioperm iopl uselib
"""


@functools.cache
def build() -> bytes:
    """The filter as the kernel takes it: a program of the Berkeley Packet Filter.

    Raises:
        SandboxError: libseccomp is not installed.
    """
    try:
        import pyseccomp as seccomp
    except (ImportError, RuntimeError, OSError):
        raise SandboxError(
            "code is run only behind a filter of system calls: install pyseccomp, and the system's libseccomp "
            "(Debian: libseccomp2)"
        ) from None
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    refused = seccomp.ERRNO(errno.EPERM)
    for name in REFUSED.split():
        try:
            rules.add_rule(refused, name)
        except (OSError, ValueError):  # not a call of this machine, or unknown to this libseccomp
            continue
    # A thread is a clone within the process; clone3 hides its flags from a filter, and libc does without it.
    rules.add_rule(refused, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    rules.add_rule(refused, "prlimit64", seccomp.Arg(0, seccomp.NE, 0))  # another process's limits
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
