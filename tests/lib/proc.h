/* proc.h - processes for tests: make, join, kill; share memory; wait.
 *
 * Every process made here is killed when the one that made it ends, whichever
 * way.  What fails here ends the test, or, in a process made by proc_fork, that
 * process with a message and status 1, which proc_join finds out about.  Waits
 * have a bound: seconds, times CK_TIMEOUT_MULTIPLIER for slow builds.
 *
 * Thread: the main thread, unless it says "any thread".
 */
#ifndef TESTS_LIB_PROC_H
#define TESTS_LIB_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How long things may take that should not take any time. */
#define PROC_WAIT_MS INT64_C(10000)

/* Say that this process is the test.  Before anything else. */
void proc_init(void);

/* End the test, or the process made by proc_fork.  Any thread. */
void proc_fail(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* Fail unless something holds, with a text.  Any thread. */
#define PROC_CHECK(holds, ...)                  \
	do {                                    \
		if (!(holds))                   \
			proc_fail(__VA_ARGS__); \
	} while (0)

/* By how much this build is slower, from 1.  Any thread. */
int64_t proc_get_slowness(void);

/* --- Processes ------------------------------------------------------------ */

/* Run a function in a process of its own.  When it returns the process ends
 * with status 0. */
pid_t proc_fork(void (*run)(void *arg), void *arg);

/* Wait for a process to end by itself; fails after timeout_ms (times
 * slowness).  Returns its wait status: wait(2). */
int proc_wait_exit(pid_t pid, int64_t timeout_ms);

/* Wait for one made by proc_fork; fails unless it ends with status 0. */
void proc_join(pid_t pid);

/* SIGKILL; fails if it had ended before. */
void proc_kill(pid_t pid);

/* Give zeroed memory that processes made later share with this one.  It goes
 * with the test's process. */
void *proc_share(size_t n);

/* --- Waiting -------------------------------------------------------------- */

/* Give the time (clock_now_us) at which a wait has taken too long.  Any
 * thread. */
int64_t proc_get_deadline_us(int64_t timeout_ms);

/* Wait for a descriptor to become readable; false when it does not.  Any
 * thread. */
bool proc_wait_readable(int fd, int64_t deadline_us);

/* Look again and again until is_so(arg); fails with what after a bound.  Any
 * thread. */
void proc_wait_until(
    bool (*is_so)(const void *arg), const void *arg, const char *what);

/* A gate where processes wait until another one opens it. */
struct proc_gate {
	int fds[2];
};

void proc_gate_init(struct proc_gate *g);
void proc_gate_fini(struct proc_gate *g);
/* Once open it stays open.  Any process, any thread. */
void proc_gate_open(const struct proc_gate *g);
void proc_gate_wait(const struct proc_gate *g);

#endif
