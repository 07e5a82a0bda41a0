/* access.h - who a client is, and what it may do.
 *
 * The kernel says who is at the other end of a socket when it connects
 * (SO_PEERCRED, SO_PEERGROUPS: unix(7)); nothing a client sends changes it.  What
 * it may do is looked up for every request, in a transaction too.
 *
 *   right    is given by                                    includes
 *   READ     readers of the database ("*" as it comes)
 *   WRITE    writers of the database ("*" as it comes)      READ
 *   ADMIN    admins of the database; of @admin: of all      WRITE, OBSERVE
 *   OBSERVE  observers; of @admin only
 *
 * root and the daemon's own user have every right.
 *
 * Thread: the worker, unless it says otherwise.
 */
#ifndef DAEMON_ACCESS_H
#define DAEMON_ACCESS_H

#include <sys/types.h>

#include "conf/conf.h"
#include "conf/names.h"
#include "daemon/request.h"

enum right { RIGHT_READ, RIGHT_WRITE, RIGHT_ADMIN, RIGHT_OBSERVE };

struct user;
struct users;

/* The other end of a socket. */
struct peer {
	int fd; /* borrowed */
	pid_t pid;
	uid_t uid;
	gid_t gid;
	struct user *user; /* counted; NULL: it is not */
	gid_t *groups;     /* owned; NULL until they are asked for */
	size_t groups_n;
};

/* Say who is at the other end of a socket; peer_fini later.  Main thread. */
void peer_init(struct peer *peer, int fd);

/* Forget it.  Any thread. */
void peer_fini(struct peer *peer);

/* Say whether it has a right on a database, or on @admin (db NULL).  0, or
 * -ERR_ACCESS_DENIED with a text in f that names the rule. */
int access_look(struct peer *peer, const struct conf *conf,
    const struct conf_db *db, enum right right, struct failure *f);

/* Say the same, to whom it is no refusal: nothing is counted. */
bool access_may(struct peer *peer, const struct conf *conf,
    const struct conf_db *db, enum right right);

static inline int
access_check(struct peer *peer, const struct conf *conf,
    const struct conf_db *db, enum right right, struct failure *f)
{
	/* as it comes: nearly every request ends here */
	if (db && right == RIGHT_READ && db->readers->all)
		return 0;
	if (db && right == RIGHT_WRITE && db->writers->all)
		return 0;
	return access_look(peer, conf, db, right, f);
}

/* --- Limits per user --------------------------------------------------------- */

/* Make and free the list of users who are connected.  Main thread; it is freed
 * when no client is left. */
struct users *users_new(void);
void users_free(struct users *users);

/* Count one connection more of the peer's user; peer_fini takes it back.  Main
 * thread.  Errors: -ERR_TOO_MANY_CLIENTS, there are max of them (0: no limit);
 * -ERR_NO_MEMORY. */
int users_enter(struct users *users, struct peer *peer, unsigned max);

/* Count one request more of a user that waits or runs; false: there are max. */
bool user_take_request(struct user *user, unsigned max);
void user_give_request(struct user *user);

#endif
