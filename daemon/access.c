/* access.c - credentials, rights, and counts of each user. */
#include "daemon/access.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/stats.h"
#include "proto/error.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct user {
	uid_t uid;
	unsigned clients_n; /* under the list's lock */
	_Atomic unsigned requests_n;
	struct users *users;
	UT_hash_handle hh;
};

struct users {
	pthread_mutex_t lock;
	struct user *table; /* uthash by uid */
};

/* --- Who it is --------------------------------------------------------------- */

void
peer_init(struct peer *peer, int fd)
{
	struct ucred cred = { .uid = (uid_t)-1, .gid = (gid_t)-1 };
	socklen_t n = sizeof(cred);

	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n);
	*peer = (struct peer){
		.fd = fd,
		.pid = cred.pid,
		.uid = cred.uid,
		.gid = cred.gid,
	};
}

/* Its supplementary groups, and first its own. */
static void
find_groups(struct peer *peer)
{
	socklen_t bytes = 0;
	gid_t *groups;

	/* says how much it needs: net/core/sock.c, SO_PEERGROUPS */
	getsockopt(peer->fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &bytes);
	groups = malloc(sizeof(gid_t) + bytes);
	if (!groups)
		return; /* it is in none now, and may be asked again */
	if (bytes > 0 &&
	    getsockopt(
		peer->fd, SOL_SOCKET, SO_PEERGROUPS, groups + 1, &bytes) < 0)
		bytes = 0;
	groups[0] = peer->gid;
	peer->groups = groups;
	peer->groups_n = 1 + bytes / sizeof(gid_t);
}

static bool
is_among(struct peer *peer, const struct conf_names *names)
{
	if (names->all)
		return true;
	if (names->n == 0)
		return false;
	if (!peer->groups)
		find_groups(peer);
	return names_have(names, peer->uid, peer->groups, peer->groups_n);
}

/* --- What it may do ---------------------------------------------------------- */

/* The lists that give a right, the one to name in a refusal first. */
static size_t
choose_lists(const struct conf *conf, const struct conf_db *db,
    enum right right, const struct conf_names *lists[3])
{
	const struct conf_db *for_db = db ? db : &conf->db_default;
	size_t n = 0;

	switch (right) {
	case RIGHT_OBSERVE:
		lists[n++] = conf->observers;
		break;
	case RIGHT_READ:
		lists[n++] = for_db->readers;
		lists[n++] = for_db->writers;
		break;
	case RIGHT_WRITE:
		lists[n++] = for_db->writers;
		break;
	case RIGHT_ADMIN:
		break;
	}
	lists[n++] = for_db->admins;
	return n;
}

static int
deny(const struct peer *peer, const struct conf_db *db, enum right right,
    const struct conf_names *list, struct failure *f)
{
	static const struct {
		const char *verb, *option;
	} words[] = {
		[RIGHT_READ] = { "read", "readers" },
		[RIGHT_WRITE] = { "write to", "writers" },
		[RIGHT_ADMIN] = { "command", "admins" },
		[RIGHT_OBSERVE] = { "look at", "observers" },
	};

	stats_add(STAT_access_denied, 1);
	return failure_set(f, ERR_ACCESS_DENIED,
	    "uid %u may not %s %s%s: it is not among the %s, which are %s%.200s; "
	    "an administrator can add it to that option",
	    (unsigned)peer->uid, words[right].verb, db ? "database " : "",
	    db ? db->name : "@admin", words[right].option,
	    list->n ? "" : "root and the daemon's own user only", list->text);
}

static bool
is_on_list(struct peer *peer, const struct conf_names *const *lists, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (lists[i]->all)
			return true;
	}
	for (size_t i = 0; i < n; i++) {
		if (is_among(peer, lists[i]))
			return true;
	}
	return peer->uid == 0 || peer->uid == geteuid();
}

bool
access_may(struct peer *peer, const struct conf *conf, const struct conf_db *db,
    enum right right)
{
	const struct conf_names *lists[3];
	size_t n = choose_lists(conf, db, right, lists);

	return is_on_list(peer, lists, n);
}

int
access_look(struct peer *peer, const struct conf *conf,
    const struct conf_db *db, enum right right, struct failure *f)
{
	const struct conf_names *lists[3];
	size_t n = choose_lists(conf, db, right, lists);

	return is_on_list(peer, lists, n) ? 0
					  : deny(peer, db, right, lists[0], f);
}

/* --- Limits per user --------------------------------------------------------- */

struct users *
users_new(void)
{
	struct users *users = calloc(1, sizeof(*users));

	if (users)
		pthread_mutex_init(&users->lock, NULL);
	return users;
}

void
users_free(struct users *users)
{
	if (!users)
		return;
	pthread_mutex_destroy(&users->lock);
	free(users);
}

static struct user *
find_or_add(struct users *users, uid_t uid)
{
	struct user *user;

	HASH_FIND(hh, users->table, &uid, sizeof(uid), user);
	if (user)
		return user;
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	user->users = users;
	HASH_ADD(hh, users->table, uid, sizeof(uid), user);
	if (!user->hh.tbl) {
		free(user);
		return NULL;
	}
	return user;
}

int
users_enter(struct users *users, struct peer *peer, unsigned max)
{
	struct user *user;
	int rc = 0;

	pthread_mutex_lock(&users->lock);
	user = find_or_add(users, peer->uid);
	if (!user)
		rc = -ERR_NO_MEMORY;
	else if (max && user->clients_n >= max)
		rc = -ERR_TOO_MANY_CLIENTS;
	else
		user->clients_n++;
	pthread_mutex_unlock(&users->lock);
	if (rc == 0)
		peer->user = user;
	return rc;
}

static void
leave(struct user *user)
{
	struct users *users = user->users;

	pthread_mutex_lock(&users->lock);
	if (--user->clients_n == 0) {
		HASH_DEL(users->table, user);
		free(user);
	}
	pthread_mutex_unlock(&users->lock);
}

void
peer_fini(struct peer *peer)
{
	if (peer->user)
		leave(peer->user);
	free(peer->groups);
}

bool
user_take_request(struct user *user, unsigned max)
{
	if (atomic_fetch_add(&user->requests_n, 1) < max)
		return true;
	user_give_request(user);
	return false;
}

void
user_give_request(struct user *user)
{
	atomic_fetch_sub(&user->requests_n, 1);
}
