/* samefile.c - which paths lead to one file. */
#include "conf/samefile.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Make the path that a file has, or will have, without links; the text as it
 * is when even its directory is not there. */
static void
resolve(const char *path, char out[PATH_MAX])
{
	char copy[PATH_MAX], dir[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (realpath(path, out) != NULL)
		return;
	snprintf(copy, sizeof(copy), "%s", path);
	if (realpath(dirname(copy), dir) == NULL ||
	    snprintf(out, PATH_MAX, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir,
		slash != NULL ? slash + 1 : path) >= PATH_MAX)
		snprintf(out, PATH_MAX, "%s", path);
}

int
samefile_init(struct samefile *f, const char *path)
{
	char real[PATH_MAX];
	struct stat st;

	*f = (struct samefile){ 0 };
	if (stat(path, &st) == 0) {
		f->exists = true;
		f->dev = st.st_dev;
		f->ino = st.st_ino;
	}
	resolve(path, real);
	f->real = strdup(real);
	return f->real ? 0 : -1;
}

void
samefile_fini(struct samefile *f)
{
	free(f->real);
}

bool
samefile_is(const struct samefile *a, const struct samefile *b)
{
	if (a->exists && b->exists)
		return a->dev == b->dev && a->ino == b->ino;
	return strcmp(a->real, b->real) == 0;
}
