/* autocheckpoint.c - the daemon with SQLite's automatic checkpoints instead of
 * its keeper, for the benchmark to compare with (figure K1).
 *
 * Preloaded into sqlpoold.  A connection that commits checkpoints when its log
 * has 1000 frames or more, which is what sqlite3_wal_autocheckpoint does by
 * default (https://sqlite.org/c3ref/wal_autocheckpoint.html) and the daemon turns
 * off; and the daemon's own checkpoints do nothing, but for the last one.
 *
 * Thread: whichever calls; a hook belongs to its connection. */
#include <dlfcn.h>
#include <err.h>
#include <sqlite3.h>
#include <stdlib.h>

#define FRAMES 1000
#define EXPORT __attribute__((visibility("default")))

typedef int hook(void *arg, sqlite3 *db, const char *name, int frames);

/* A connection's own hook; lives as long as the process. */
struct wrapped {
	hook *call;
	void *arg;
};

static void *
find_next(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (!p)
		errx(1, "%s: %s", name, dlerror());
	return p;
}

static int
checkpoint(sqlite3 *db, const char *name, int mode, int *frames, int *copied)
{
	static int (*next)(sqlite3 *, const char *, int, int *, int *);

	if (!next)
		*(void **)&next = find_next("sqlite3_wal_checkpoint_v2");
	return next(db, name, mode, frames, copied);
}

static int
on_commit(void *arg, sqlite3 *db, const char *name, int frames)
{
	struct wrapped *w = arg;
	int rc = w->call(w->arg, db, name, frames);

	if (frames >= FRAMES)
		(void)checkpoint(
		    db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	return rc;
}

EXPORT void *
sqlite3_wal_hook(sqlite3 *db, hook *call, void *arg)
{
	void *(*next)(sqlite3 *, hook *, void *);
	struct wrapped *w = malloc(sizeof(*w));

	if (!w)
		errx(1, "out of memory");
	w->call = call;
	w->arg = arg;
	*(void **)&next = find_next("sqlite3_wal_hook");
	return next(db, on_commit, w);
}

EXPORT int
sqlite3_wal_checkpoint_v2(
    sqlite3 *db, const char *name, int mode, int *frames, int *copied)
{
	if (mode == SQLITE_CHECKPOINT_TRUNCATE)
		return checkpoint(db, name, mode, frames, copied);
	*frames = *copied = 0;
	return SQLITE_OK;
}
