/* samefile.h - which paths lead to one file.
 *
 * A path is looked up once, and then compared with any number of others.
 *
 * Thread: any.
 */
#ifndef CONF_SAMEFILE_H
#define CONF_SAMEFILE_H

#include <stdbool.h>
#include <sys/types.h>

/* Where a path leads to. */
struct samefile {
	bool exists;
	dev_t dev; /* these, if it does */
	ino_t ino;
	char *real; /* owned; without links, as far as its directory is there */
};

/* Look up a path, whose file need not be there.  -1: out of memory. */
int samefile_init(struct samefile *f, const char *path);

/* All zero is fine. */
void samefile_fini(struct samefile *f);

/* Say whether they are one file, or will be. */
bool samefile_is(const struct samefile *a, const struct samefile *b);

#endif
