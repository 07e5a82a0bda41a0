/* answer.h - the reply of one request while it is written.
 *
 * An answer begins as a DONE frame.  When it grows past a chunk it is sent on
 * as a ROWS frame and a new DONE frame begins; an error takes back the open
 * frame and puts an ERROR in its place.  So a small result is one frame.
 *
 * Thread: whoever holds the request.
 */
#ifndef DAEMON_ANSWER_H
#define DAEMON_ANSWER_H

#include "daemon/request.h"

/* A ROWS frame ends when it holds this much: design, section 2, "Heavy
 * readers"; PROTOCOL.md says about 64 KiB. */
#define ANSWER_CHUNK_BYTES ((size_t)64 << 10)

struct answer {
	struct request *r;
	struct buf *out;
	struct msg_out frame;
	bool open;          /* a DONE frame is open at the end of out */
	bool rows_open;     /* and its rows array */
	bool columns_given; /* in this frame or an earlier one */
	size_t rows_at;
	unsigned rows_n; /* in the open array */
};

/* Begin an answer that is written to out. */
void answer_init(struct answer *a, struct request *r, struct buf *out);

/* Open the DONE frame unless it is open. */
void answer_open(struct answer *a);

/* Open and close the rows array inside the open frame. */
void answer_open_rows(struct answer *a);
void answer_close_rows(struct answer *a);

/* Bytes of the open frame so far. */
size_t answer_get_bytes(const struct answer *a);

/* Send the open frame on as ROWS.  Errors: -ERR_FRAME_TOO_LONG (over what the
 * client accepts), -ERR_NO_MEMORY. */
int answer_flush(struct answer *a);

/* Take back the open frame. */
void answer_abandon(struct answer *a);

/* End the request: DONE with its summary, or ERROR when r->failure is set (or
 * the DONE does not fit).  r->state becomes ANSWERED. */
void answer_finish(struct answer *a);

/* End a request whose answer has no body of its own: OK or ERROR. */
void answer_ok(struct request *r, struct buf *out);

/* End a request with r->failure. */
void answer_error(struct request *r, struct buf *out);

/* Append an ERROR body's keys to an open map; used for steps of a BATCH too. */
void answer_put_failure(struct msg_out *m, const struct failure *f);

/* Write an ERROR frame that belongs to no request (id 0). */
void answer_fault(struct buf *out, int code, const char *text);

#endif
