/* names.h - users and groups by name or number.
 *
 * Thread: any; the system's database of users is asked, which may take a while.
 */
#ifndef CONF_NAMES_H
#define CONF_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Find a user's or group's number.  A text of digits is one, whether anybody has
 * it or not.  -1: there is no such name. */
int names_find_user(const char *text, uint32_t *ret_uid);
int names_find_group(const char *text, uint32_t *ret_gid);

/* Users and @groups who may do something; a block of memory that is constant
 * once it is made, but for the first field. */
struct conf_names {
	struct conf_names *next; /* of those that a reload has replaced */
	char *text;              /* "alice, @web", in the block */
	bool all;                /* "*" is among them */
	size_t n;
	struct {
		bool is_group;
		uint32_t id;
	} list[];
};

/* Make a list from names between commas or blanks; the caller frees it.  -1:
 * there is no such user or group, whose name is then in bad; or out of memory,
 * and bad is empty. */
int names_parse(
    const char *text, struct conf_names **ret_names, char *bad, size_t bad_n);

/* Copy a list.  NULL: out of memory. */
struct conf_names *names_copy(const struct conf_names *names);

/* Say whether two lists are of the same names, and these have the same numbers. */
bool names_are_equal(const struct conf_names *a, const struct conf_names *b);

/* Free a list, and those behind it.  NULL is fine. */
void names_free_all(struct conf_names *names);

/* Say whether a user, or one of its groups, is among them. */
bool names_have(const struct conf_names *names, uint32_t uid,
    const uint32_t *gids, size_t gids_n);

#endif
