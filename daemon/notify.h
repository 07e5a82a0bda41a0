/* notify.h - what the service manager is told: sd_notify(3), in its own few lines.
 *
 * Nothing is said when nobody asked: without $NOTIFY_SOCKET all of it does
 * nothing.  Main thread.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
	int fd; /* -1: nobody listens */
	struct sockaddr_un to;
	socklen_t to_n;
	int64_t watchdog_us; /* how often it wants to hear that all turn; 0: it
			      * does not */
};

/* Find out from the environment who wants to hear. */
void notify_open(struct notify *n);
void notify_close(struct notify *n);

/* Say lines of sd_notify(3), printf-like: "READY=1\nSTATUS=...". */
void notify_say(const struct notify *n, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
