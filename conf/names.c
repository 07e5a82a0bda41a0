/* names.c - users and groups: see getpwnam_r(3), getgrnam_r(3). */
#include "conf/names.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
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

/* --- Lists ------------------------------------------------------------------ */

static const char separators[] = ", \t";

/* The block for a text: there are fewer names in it than bytes. */
static size_t
count_names(const char *text)
{
	size_t n = 0;

	while (*(text += strspn(text, separators)) != '\0') {
		text += strcspn(text, separators);
		n++;
	}
	return n;
}

static size_t
get_list_bytes(size_t n)
{
	struct conf_names *names = NULL;

	return sizeof(*names) + n * sizeof(names->list[0]);
}

static struct conf_names *
names_new(const char *text)
{
	size_t n = count_names(text);
	size_t text_n = strlen(text) + 1;
	struct conf_names *names = calloc(1, get_list_bytes(n) + text_n);

	if (names != NULL)
		names->text = memcpy(
		    (char *)names + get_list_bytes(n), text, text_n);
	return names;
}

static int
add_name(struct conf_names *names, const char *name)
{
	uint32_t id = 0;
	bool is_group = name[0] == '@';

	if (strcmp(name, "*") == 0) {
		names->all = true;
		return 0;
	}
	if (is_group ? names_find_group(name + 1, &id) < 0
		     : names_find_user(name, &id) < 0)
		return -1;
	names->list[names->n].is_group = is_group;
	names->list[names->n++].id = id;
	return 0;
}

int
names_parse(
    const char *text, struct conf_names **ret_names, char *bad, size_t bad_n)
{
	struct conf_names *names = names_new(text);
	char *copy = strdup(text);
	char *save = NULL;
	char *name;
	int rc = names != NULL && copy != NULL ? 0 : -1;

	bad[0] = '\0';
	name = rc == 0 ? strtok_r(copy, separators, &save) : NULL;
	while (name != NULL && rc == 0) {
		rc = add_name(names, name);
		if (rc < 0)
			snprintf(bad, bad_n, "%s", name);
		name = strtok_r(NULL, separators, &save);
	}
	free(copy);
	if (rc < 0)
		free(names);
	else
		*ret_names = names;
	return rc;
}

struct conf_names *
names_copy(const struct conf_names *names)
{
	struct conf_names *copy = names_new(names->text);

	if (copy == NULL)
		return NULL;
	copy->all = names->all;
	copy->n = names->n;
	memcpy(copy->list, names->list, names->n * sizeof(names->list[0]));
	return copy;
}

bool
names_are_equal(const struct conf_names *a, const struct conf_names *b)
{
	if (strcmp(a->text, b->text) != 0 || a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->list[i].is_group != b->list[i].is_group ||
		    a->list[i].id != b->list[i].id)
			return false;
	return true;
}

void
names_free_all(struct conf_names *names)
{
	while (names != NULL) {
		struct conf_names *next = names->next;

		free(names);
		names = next;
	}
}

bool
names_have(const struct conf_names *names, uint32_t uid, const uint32_t *gids,
    size_t gids_n)
{
	for (size_t i = 0; i < names->n; i++) {
		if (!names->list[i].is_group) {
			if (names->list[i].id == uid)
				return true;
			continue;
		}
		for (size_t j = 0; j < gids_n; j++) {
			if (names->list[i].id == gids[j])
				return true;
		}
	}
	return names->all;
}
