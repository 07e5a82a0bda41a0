/* slow.h - statements that run for long are logged, with why, and the last ones
 * are kept.
 *
 * The progress handler notes when a statement has run for its first thousand
 * opcodes, and what SQLite counted for it until then: a short statement costs
 * nothing.  Whoever puts a statement back looks here before.
 *
 * Thread: the holder of the connection; slow_list: any.
 */
#ifndef DAEMON_SLOW_H
#define DAEMON_SLOW_H

#include "daemon/dbconn.h"

/* Log a statement that has run for slow_statement since dbconn_set_vars, without
 * waited_us, in which it waited for its client.  st is not reset yet; NULL is
 * fine. */
void slow_look(struct dbconn *c, const struct stmt *st, const struct request *r,
    int64_t waited_us);

/* So many are kept, and of each so much of its text. */
#define SLOW_KEPT_MAX  100
#define SLOW_SQL_BYTES 1000

/* One that was slow.  Why: it read rows in a table one after the other, sorted, or
 * made an index for itself.  Counts are from its first thousand opcodes on. */
struct slow {
	uint64_t number;  /* of all there were, from 1 on */
	int64_t ended_us; /* since 1970 */
	int64_t run_us;
	struct owner owner; /* who sent it */
	char database[CONF_NAME_MAX + 1];
	uint32_t scan_steps, sorts, index_rows, vm_steps;
	size_t sql_n;
	char sql[SLOW_SQL_BYTES]; /* cut; with values only if log_parameters is
				   * on */
};

/* List those that are kept, the last one first.  Gives how many there are. */
size_t slow_list(struct slow ret_list[SLOW_KEPT_MAX]);

#endif
