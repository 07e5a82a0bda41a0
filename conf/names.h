/* names.h - users and groups by name or number.
 *
 * Thread: any; the system's database of users is asked, which may take a while.
 */
#ifndef CONF_NAMES_H
#define CONF_NAMES_H

#include <stdint.h>

/* Find a user's or group's number.  A text of digits is one, whether anybody has
 * it or not.  -1: there is no such name. */
int names_find_user(const char *text, uint32_t *ret_uid);
int names_find_group(const char *text, uint32_t *ret_gid);

#endif
