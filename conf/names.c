/* names.c - users and groups: see getpwnam_r(3), getgrnam_r(3). */
#include "conf/names.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

/* A group of many members needs room; beyond this it is not believed. */
#define ROOM_FIRST ((size_t)4 << 10)
#define ROOM_MAX   ((size_t)16 << 20)

/* Read a number that an id can be: not the last, which means none (chown(2)). */
static int
read_id(const char *text, uint32_t *ret_id)
{
	unsigned long long n;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || n >= UINT32_MAX)
		return -1;
	*ret_id = (uint32_t)n;
	return 0;
}

static int
find_user(const char *name, char *room, size_t n, uint32_t *ret_id)
{
	struct passwd pw, *found = NULL;
	int rc = getpwnam_r(name, &pw, room, n, &found);

	if (found != NULL)
		*ret_id = found->pw_uid;
	return found != NULL ? 0 : rc == ERANGE ? ERANGE : ENOENT;
}

static int
find_group(const char *name, char *room, size_t n, uint32_t *ret_id)
{
	struct group gr, *found = NULL;
	int rc = getgrnam_r(name, &gr, room, n, &found);

	if (found != NULL)
		*ret_id = found->gr_gid;
	return found != NULL ? 0 : rc == ERANGE ? ERANGE : ENOENT;
}

static int
find(const char *name,
    int (*look)(const char *name, char *room, size_t n, uint32_t *ret_id),
    uint32_t *ret_id)
{
	int rc = ERANGE;

	if (read_id(name, ret_id) == 0)
		return 0;
	for (size_t n = ROOM_FIRST; rc == ERANGE && n <= ROOM_MAX; n *= 4) {
		char *room = malloc(n);

		if (room == NULL)
			return -1;
		rc = look(name, room, n, ret_id);
		free(room);
	}
	return rc == 0 ? 0 : -1;
}

int
names_find_user(const char *text, uint32_t *ret_uid)
{
	return find(text, find_user, ret_uid);
}

int
names_find_group(const char *text, uint32_t *ret_gid)
{
	return find(text, find_group, ret_gid);
}
