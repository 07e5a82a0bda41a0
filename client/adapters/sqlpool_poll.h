/* sqlpool_poll.h - one or more connections of libsqlpool-client under poll(2).
 *
 *	while (busy)
 *		if (sqlpool_poll(conns, n, -1) < 0)
 *			...
 *
 * Thread: that of the connections.
 */
#ifndef SQLPOOL_POLL_H
#define SQLPOOL_POLL_H

#include <errno.h>
#include <poll.h>
#include <sqlpool.h>

/* As many connections as one call takes. */
#define SQLPOOL_POLL_MAX 64

/* Sleep until one of the connections has something to do, or timeout_ms is over
 * (-1: no end of our own), and process them all once; then callbacks have been
 * called.
 *
 * conns: n of them, at most SQLPOOL_POLL_MAX; NULL ones are skipped.  Returns 0,
 * or what the first connection that has ended for good has ended with: close or
 * reset that one.  Errors also: SQLPOOL_ERR_MISUSE (too many). */
static inline int
sqlpool_poll(struct sqlpool_conn *const *conns, size_t n, int timeout_ms)
{
	struct pollfd fds[SQLPOOL_POLL_MAX];
	int ret = 0;

	if (n > SQLPOOL_POLL_MAX)
		return -SQLPOOL_ERR_MISUSE;
	for (size_t i = 0; i < n; i++) {
		int left_ms = -1, rc = 0;

		fds[i].fd = -1;
		fds[i].events = 0;
		if (conns[i])
			rc = sqlpool_get_pollinfo(
			    conns[i], &fds[i].fd, &fds[i].events, &left_ms);
		if (rc < 0)
			return rc;
		if (left_ms >= 0 && (timeout_ms < 0 || left_ms < timeout_ms))
			timeout_ms = left_ms;
	}
	/* a signal is no trouble: all are processed, and then asked again */
	if (poll(fds, n, timeout_ms) < 0 && errno != EINTR)
		return -SQLPOOL_ERR_CONNECTION_LOST;
	for (size_t i = 0; i < n; i++) {
		int rc = conns[i] ? sqlpool_process(conns[i]) : 0;

		if (rc < 0 && ret == 0)
			ret = rc;
	}
	return ret;
}

#endif
