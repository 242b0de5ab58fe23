/*
 * User Mode Linux 6.1 keeps 2,696 bytes of a process's extended state, and gives them back by PTRACE_SETREGSET. A host with
 * processors that have more of it (AMX: 11,008 bytes) takes the whole or nothing (EFAULT), and the guest's first process dies.
 * Preloaded to it, this fills up what is missing with what the process has.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long set_whole_state(long pid, void *kind, struct iovec *given)
{
    static char state[65536];
    struct iovec whole = { state, sizeof state };

    if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, kind, &whole) != 0 || whole.iov_len <= given->iov_len)
        return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, kind, given);
    memcpy(state, given->iov_base, given->iov_len);
    return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, kind, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list rest;
    va_start(rest, request);
    long pid = va_arg(rest, long);
    void *address = va_arg(rest, void *);
    void *data = va_arg(rest, void *);
    va_end(rest);

    if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE)
        return set_whole_state(pid, address, data);
    if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
        return syscall(SYS_ptrace, request, pid, address, data);
    /* The C library gives what was read as the result; the kernel writes it. */
    long word;
    if (syscall(SYS_ptrace, request, pid, address, &word) != 0)
        return -1;
    errno = 0;
    return word;
}
