/* notify.h - what the service manager is told: sd_notify(3), in its own few lines.
 *
 * Nothing is said when nobody asked: without $NOTIFY_SOCKET all of it does
 * nothing.  Main thread.
 *
 * What takes long, to open the databases or to copy their WALs in the end, is begun
 * and ended here: meanwhile a thread says again and again that it takes longer
 * (EXTEND_TIMEOUT_USEC), as long as this process does something at all.  One that
 * hangs is the service manager's to end.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* How long the service manager is to wait until the next word of it. */
#define NOTIFY_EXTEND "EXTEND_TIMEOUT_USEC=60000000"

/* The thread that says so. */
struct notify_work {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	int64_t every_us;
	bool runs;
	bool over; /* under lock */
};

struct notify {
	int fd; /* -1: nobody listens */
	struct sockaddr_un to;
	socklen_t to_n;
	int64_t watchdog_us; /* how often it wants to hear that all turn; 0: it
			      * does not */
	struct notify_work work;
};

/* Find out from the environment who wants to hear. */
void notify_open(struct notify *n);
void notify_close(struct notify *n);

/* Say lines of sd_notify(3), printf-like: "READY=1\nSTATUS=...". */
void notify_say(const struct notify *n, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Begin work that may take long, of which status is a STATUS=; and end it. */
void notify_begin(struct notify *n, const char *status);
void notify_end(struct notify *n);

#endif
