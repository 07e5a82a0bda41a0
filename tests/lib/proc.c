/* proc.c - make, join and kill processes; wait. */
#include "tests/lib/proc.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clock.h"

#define TEXT_BYTES 4096

/* Who the test is, so that its children know they are not. */
static pid_t test_pid;

void
proc_init(void)
{
	test_pid = getpid();
}

void
proc_fail(const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (getpid() == test_pid)
		ck_abort_msg("%s", text);
	fprintf(stderr, "process %d: %s\n", (int)getpid(), text);
	_exit(1);
}

int64_t
proc_get_slowness(void)
{
	const char *text = getenv("CK_TIMEOUT_MULTIPLIER");
	long n = text ? strtol(text, NULL, 10) : 1;

	return n > 1 ? n : 1;
}

/* --- Processes ------------------------------------------------------------ */

pid_t
proc_fork(void (*run)(void *arg), void *arg)
{
	pid_t parent = getpid();
	pid_t pid;

	fflush(stdout);
	pid = fork();
	PROC_CHECK(pid >= 0, "fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		run(arg);
	fflush(stdout);
	_exit(0);
}

static int
reap(pid_t pid)
{
	int status;

	PROC_CHECK(
	    waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	return status;
}

int
proc_wait_exit(pid_t pid, int64_t timeout_ms)
{
	int fd = pidfd_open(pid, 0);
	bool ended;

	PROC_CHECK(fd >= 0, "pidfd_open: %s", strerror(errno));
	ended = proc_wait_readable(fd, proc_get_deadline_us(timeout_ms));
	close(fd);
	PROC_CHECK(ended, "process %d has not ended after %lld ms", (int)pid,
	    (long long)timeout_ms);
	return reap(pid);
}

void
proc_join(pid_t pid)
{
	int status = proc_wait_exit(pid, 6 * PROC_WAIT_MS);

	PROC_CHECK(status == 0, "process %d failed, wait status %#x", (int)pid,
	    (unsigned)status);
}

void
proc_kill(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	status = reap(pid);
	PROC_CHECK(WIFSIGNALED(status), "process %d had ended, wait status %#x",
	    (int)pid, (unsigned)status);
}

void *
proc_share(size_t n)
{
	void *p = mmap(
	    NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	PROC_CHECK(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

/* --- Waiting -------------------------------------------------------------- */

int64_t
proc_get_deadline_us(int64_t timeout_ms)
{
	return clock_now_us() + timeout_ms * 1000 * proc_get_slowness();
}

bool
proc_wait_readable(int fd, int64_t deadline_us)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int rc;

	do {
		int64_t left_us = deadline_us - clock_now_us();

		rc = poll(&p, 1, left_us > 0 ? (int)(left_us / 1000) + 1 : 0);
	} while (rc < 0 && errno == EINTR);
	return rc == 1;
}

void
proc_wait_until(
    bool (*is_so)(const void *arg), const void *arg, const char *what)
{
	static const struct timespec pause = { 0, 1000000 };
	int64_t deadline_us = proc_get_deadline_us(PROC_WAIT_MS);

	while (!is_so(arg)) {
		PROC_CHECK(clock_now_us() < deadline_us,
		    "waited in vain for %s", what);
		nanosleep(&pause, NULL);
	}
}

void
proc_gate_init(struct proc_gate *g)
{
	PROC_CHECK(pipe2(g->fds, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
}

void
proc_gate_fini(struct proc_gate *g)
{
	close(g->fds[0]);
	close(g->fds[1]);
}

/* The byte stays in the pipe: so the gate stays open. */
void
proc_gate_open(const struct proc_gate *g)
{
	PROC_CHECK(write(g->fds[1], "", 1) == 1, "write: %s", strerror(errno));
}

void
proc_gate_wait(const struct proc_gate *g)
{
	PROC_CHECK(proc_wait_readable(
		       g->fds[0], proc_get_deadline_us(3 * PROC_WAIT_MS)),
	    "nobody opened the gate");
}
