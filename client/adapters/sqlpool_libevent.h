/* sqlpool_libevent.h - a connection of libsqlpool-client under libevent.
 *
 *	struct sqlpool_libevent glue;
 *
 *	sqlpool_libevent_attach(&glue, base, conn, on_end, arg);
 *	sqlpool_send(...), sqlpool_set_callback(...);
 *	sqlpool_libevent_update(&glue);
 *	event_base_dispatch(base);
 *	sqlpool_libevent_detach(&glue);
 *	sqlpool_close(conn);
 *
 * Callbacks of results are called from the loop.  Link with -levent_core.
 *
 * Thread: that of the event base.
 */
#ifndef SQLPOOL_LIBEVENT_H
#define SQLPOOL_LIBEVENT_H

#include <event2/event.h>
#include <poll.h>
#include <sqlpool.h>

struct sqlpool_libevent {
	struct sqlpool_conn *conn;
	struct event_base *base;
	struct event *event; /* for fd, or a timer; NULL: there is none */
	int fd;              /* that it watches; -1: none */
	short events;        /* libevent's */
	/* The connection has ended for good, with this negative code; may be
	 * NULL.  Detach it there or later, and close or reset it. */
	void (*on_end)(struct sqlpool_libevent *glue, int code, void *arg);
	void *arg;
};

static inline int sqlpool_libevent_update(struct sqlpool_libevent *glue);

static inline void
sqlpool_libevent_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct sqlpool_libevent *glue = (struct sqlpool_libevent *)arg;

	(void)fd;
	(void)what;
	/* what went wrong is update's to tell */
	if (sqlpool_process(glue->conn) <= 0)
		(void)sqlpool_libevent_update(glue);
}

/* Forget what is watched; nothing is called any more. */
static inline void
sqlpool_libevent_detach(struct sqlpool_libevent *glue)
{
	if (glue->event)
		event_free(glue->event);
	glue->event = NULL;
	glue->fd = -1;
}

/* Watch what the connection needs now.  Call it after anything was done with the
 * connection outside of its callbacks.
 *
 * Errors: what the connection has ended with, after on_end;
 * SQLPOOL_ERR_NO_MEMORY. */
static inline int
sqlpool_libevent_update(struct sqlpool_libevent *glue)
{
	int fd, timeout_ms, rc;
	short wanted, events = 0;
	struct timeval tv;

	rc = sqlpool_get_pollinfo(glue->conn, &fd, &wanted, &timeout_ms);
	if (rc < 0) {
		sqlpool_libevent_detach(glue);
		if (glue->on_end)
			glue->on_end(glue, rc, glue->arg);
		return rc;
	}
	if (fd >= 0)
		events = (short)(EV_PERSIST |
		    ((wanted & POLLIN) ? EV_READ : 0) |
		    ((wanted & POLLOUT) ? EV_WRITE : 0));
	if (!glue->event || fd != glue->fd || events != glue->events) {
		sqlpool_libevent_detach(glue);
		glue->event = event_new(
		    glue->base, fd, events, sqlpool_libevent_on_event, glue);
		if (!glue->event)
			return -SQLPOOL_ERR_NO_MEMORY;
		glue->fd = fd;
		glue->events = events;
	}
	if (timeout_ms < 0)
		event_remove_timer(glue->event);
	if (fd < 0 && timeout_ms < 0)
		return 0;
	tv.tv_sec = timeout_ms / 1000;
	tv.tv_usec = timeout_ms % 1000 * 1000L;
	/* of one that is added already, this sets the timer alone */
	return event_add(glue->event, timeout_ms < 0 ? NULL : &tv) < 0
	    ? -SQLPOOL_ERR_NO_MEMORY
	    : 0;
}

/* Watch a connection.  on_end: see the struct.
 *
 * Errors: as sqlpool_libevent_update. */
static inline int
sqlpool_libevent_attach(struct sqlpool_libevent *glue, struct event_base *base,
    struct sqlpool_conn *conn,
    void (*on_end)(struct sqlpool_libevent *glue, int code, void *arg),
    void *arg)
{
	glue->conn = conn;
	glue->base = base;
	glue->event = NULL;
	glue->fd = -1;
	glue->events = 0;
	glue->on_end = on_end;
	glue->arg = arg;
	return sqlpool_libevent_update(glue);
}

#endif
