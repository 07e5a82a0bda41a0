/* sqlpool_libuv.h - a connection of libsqlpool-client under libuv.
 *
 *	struct sqlpool_libuv *glue;
 *
 *	sqlpool_libuv_attach(loop, conn, on_end, arg, &glue);
 *	sqlpool_send(...), sqlpool_set_callback(...);
 *	sqlpool_libuv_update(glue);
 *	uv_run(loop, UV_RUN_DEFAULT);
 *	sqlpool_libuv_detach(glue);
 *	sqlpool_close(conn);
 *
 * Callbacks of results are called from the loop, which goes on as long as the
 * connection is attached.  Link with -luv.
 *
 * Thread: that of the loop.
 */
#ifndef SQLPOOL_LIBUV_H
#define SQLPOOL_LIBUV_H

#include <poll.h>
#include <sqlpool.h>
#include <stdlib.h>
#include <uv.h>

struct sqlpool_libuv {
	struct sqlpool_conn *conn; /* NULL: detached */
	uv_loop_t *loop;
	uv_timer_t timer;
	uv_poll_t *poll; /* on the heap: closing it takes a turn; or NULL */
	int fd;          /* that it watches; -1: none */
	/* The connection has ended for good, with this negative code; may be
	 * NULL.  Detach it there or later, and close or reset it. */
	void (*on_end)(struct sqlpool_libuv *glue, int code, void *arg);
	void *arg;
};

static inline int sqlpool_libuv_update(struct sqlpool_libuv *glue);

static inline void
sqlpool_libuv_free(uv_handle_t *handle)
{
	free(handle->data);
}

static inline void
sqlpool_libuv_process(struct sqlpool_libuv *glue)
{
	if (!glue->conn)
		return;
	/* what went wrong is update's to tell */
	if (sqlpool_process(glue->conn) <= 0 && glue->conn)
		(void)sqlpool_libuv_update(glue);
}

static inline void
sqlpool_libuv_on_poll(uv_poll_t *poll_handle, int status, int events)
{
	(void)status;
	(void)events;
	sqlpool_libuv_process((struct sqlpool_libuv *)poll_handle->data);
}

static inline void
sqlpool_libuv_on_timer(uv_timer_t *timer)
{
	sqlpool_libuv_process((struct sqlpool_libuv *)timer->data);
}

static inline void
sqlpool_libuv_free_poll(uv_handle_t *handle)
{
	free(handle);
}

static inline void
sqlpool_libuv_forget(struct sqlpool_libuv *glue)
{
	if (glue->poll) {
		uv_poll_stop(glue->poll);
		uv_close((uv_handle_t *)glue->poll, sqlpool_libuv_free_poll);
	}
	glue->poll = NULL;
	glue->fd = -1;
}

/* Forget what is watched; nothing is called any more.  The glue is freed when
 * the loop has gone round. */
static inline void
sqlpool_libuv_detach(struct sqlpool_libuv *glue)
{
	if (!glue->conn)
		return;
	sqlpool_libuv_forget(glue);
	glue->conn = NULL;
	uv_timer_stop(&glue->timer);
	uv_close((uv_handle_t *)&glue->timer, sqlpool_libuv_free);
}

static inline int
sqlpool_libuv_watch(struct sqlpool_libuv *glue, int fd, short wanted)
{
	int events = ((wanted & POLLIN) ? UV_READABLE : 0) |
	    ((wanted & POLLOUT) ? UV_WRITABLE : 0);

	if (fd != glue->fd)
		sqlpool_libuv_forget(glue);
	if (fd < 0)
		return 0;
	if (!glue->poll) {
		glue->poll = (uv_poll_t *)malloc(sizeof(*glue->poll));
		if (!glue->poll)
			return -SQLPOOL_ERR_NO_MEMORY;
		if (uv_poll_init(glue->loop, glue->poll, fd) < 0) {
			free(glue->poll);
			glue->poll = NULL;
			return -SQLPOOL_ERR_NO_MEMORY;
		}
		glue->poll->data = glue;
		glue->fd = fd;
	}
	return uv_poll_start(glue->poll, events, sqlpool_libuv_on_poll) < 0
	    ? -SQLPOOL_ERR_NO_MEMORY
	    : 0;
}

/* Watch what the connection needs now.  Call it after anything was done with the
 * connection outside of its callbacks.
 *
 * Errors: what the connection has ended with, after on_end;
 * SQLPOOL_ERR_NO_MEMORY. */
static inline int
sqlpool_libuv_update(struct sqlpool_libuv *glue)
{
	int fd, timeout_ms, rc;
	short wanted;

	rc = sqlpool_get_pollinfo(glue->conn, &fd, &wanted, &timeout_ms);
	if (rc < 0) {
		sqlpool_libuv_forget(glue);
		uv_timer_stop(&glue->timer);
		if (glue->on_end)
			glue->on_end(glue, rc, glue->arg);
		return rc;
	}
	if (timeout_ms < 0)
		uv_timer_stop(&glue->timer);
	else if (uv_timer_start(&glue->timer, sqlpool_libuv_on_timer,
		     (uint64_t)timeout_ms, 0) < 0)
		return -SQLPOOL_ERR_NO_MEMORY;
	return sqlpool_libuv_watch(glue, fd, wanted);
}

/* Watch a connection.  on_end: see the struct.  *ret_glue lives until it is
 * detached, also when this fails.
 *
 * Errors: as sqlpool_libuv_update; then, out of memory, *ret_glue is NULL. */
static inline int
sqlpool_libuv_attach(uv_loop_t *loop, struct sqlpool_conn *conn,
    void (*on_end)(struct sqlpool_libuv *glue, int code, void *arg), void *arg,
    struct sqlpool_libuv **ret_glue)
{
	struct sqlpool_libuv *glue = (struct sqlpool_libuv *)calloc(
	    1, sizeof(*glue));

	*ret_glue = glue;
	if (!glue)
		return -SQLPOOL_ERR_NO_MEMORY;
	glue->conn = conn;
	glue->loop = loop;
	glue->fd = -1;
	glue->on_end = on_end;
	glue->arg = arg;
	uv_timer_init(loop, &glue->timer);
	glue->timer.data = glue;
	return sqlpool_libuv_update(glue);
}

#endif
