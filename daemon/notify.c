/* notify.c - datagrams to the service manager. */
#include "daemon/notify.h"

#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EXTEND_EVERY_US 5000000
/* Less in that time is nothing done: to look costs a little, too. */
#define WORK_LEAST_NS 100000

/* sd_watchdog_enabled(3): it may be meant for another process. */
static int64_t
find_watchdog(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	return strtoll(usec, NULL, 10);
}

void
notify_open(struct notify *n)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;

	*n = (struct notify){ .fd = -1,
		.to.sun_family = AF_UNIX,
		.work.every_us = EXTEND_EVERY_US };
	if (len < 2 || len > sizeof(n->to.sun_path) ||
	    (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(n->to.sun_path, path, len);
	if (path[0] == '@') /* an abstract name: unix(7) */
		n->to.sun_path[0] = '\0';
	n->to_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	n->watchdog_us = find_watchdog();
}

void
notify_close(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

void
notify_say(const struct notify *n, const char *fmt, ...)
{
	char text[512];
	va_list args;
	int len;

	if (n->fd < 0)
		return;
	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (len <= 0)
		return;
	/* one that is lost is followed by others, or by a time-out there */
	(void)!sendto(n->fd, text,
	    (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1,
	    MSG_NOSIGNAL, (const struct sockaddr *)&n->to, n->to_n);
}

/* --- Work that takes long --------------------------------------------------------- */

static int64_t
get_ns(clockid_t clock)
{
	struct timespec ts = { 0 };

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* What the other threads have used. */
static int64_t
get_cpu_ns(void)
{
	return get_ns(CLOCK_PROCESS_CPUTIME_ID) -
	    get_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Under the lock: true when it is over. */
static bool
wait_a_while(struct notify_work *work)
{
	int64_t ns = get_ns(CLOCK_MONOTONIC) + work->every_us * 1000;
	struct timespec until = { ns / 1000000000, ns % 1000000000 };
	int rc = 0;

	while (!work->over && rc == 0)
		rc = pthread_cond_timedwait(&work->ended, &work->lock, &until);
	return work->over;
}

static void *
extend(void *arg)
{
	struct notify *n = arg;
	int64_t cpu_ns = get_cpu_ns();

	pthread_mutex_lock(&n->work.lock);
	while (!wait_a_while(&n->work)) {
		int64_t now_ns = get_cpu_ns();

		if (now_ns - cpu_ns > WORK_LEAST_NS)
			notify_say(n, NOTIFY_EXTEND);
		cpu_ns = now_ns;
	}
	pthread_mutex_unlock(&n->work.lock);
	return NULL;
}

/* Signals are for the others. */
static bool
start_thread(struct notify *n)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&n->work.thread, NULL, extend, n);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc == 0;
}

void
notify_begin(struct notify *n, const char *status)
{
	struct notify_work *work = &n->work;
	pthread_condattr_t attr;

	if (n->fd < 0)
		return;
	notify_say(n, NOTIFY_EXTEND "\nSTATUS=%s", status);
	pthread_mutex_init(&work->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&work->ended, &attr);
	pthread_condattr_destroy(&attr);
	work->over = false;
	work->runs = start_thread(n); /* or else its time is not extended */
}

void
notify_end(struct notify *n)
{
	struct notify_work *work = &n->work;

	if (n->fd < 0)
		return;
	pthread_mutex_lock(&work->lock);
	work->over = true;
	pthread_cond_signal(&work->ended);
	pthread_mutex_unlock(&work->lock);
	if (work->runs)
		pthread_join(work->thread, NULL);
	pthread_cond_destroy(&work->ended);
	pthread_mutex_destroy(&work->lock);
}
