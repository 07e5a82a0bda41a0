/* runas.c - give up being root. */
#include "daemon/runas.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "conf/names.h"

/* The one that is configured; conf has checked that there is one. */
static uid_t
get_wanted(const struct conf *conf)
{
	uint32_t uid = geteuid();

	if (conf->user[0] && names_find_user(conf->user, &uid) < 0)
		return (uid_t)-1;
	return uid;
}

int
runas_check(const struct conf *conf, char err[CONF_ERR_MAX])
{
	uid_t me = geteuid();

	if (me == 0 && !conf->user[0])
		snprintf(err, CONF_ERR_MAX,
		    "started as root, and not told who to run as: start it as "
		    "the user who owns the databases, or say who that is with "
		    "-u USER (\"user\" in the configuration); -u root if it "
		    "must be root");
	else if (me != 0 && get_wanted(conf) != me)
		snprintf(err, CONF_ERR_MAX,
		    "only root can run it as another user (%.80s), and this is "
		    "uid %u: leave \"user\" out, or start it as root",
		    conf->user, (unsigned)me);
	else
		return 0;
	return -1;
}

bool
runas_is_self(const struct conf *conf)
{
	return get_wanted(conf) == geteuid();
}

/* One thread yet, or asked again by it alone. */
static const struct passwd *
find_entry(const struct conf *conf)
{
	return getpwuid(get_wanted(conf)); /* NOLINT(concurrency-mt-unsafe) */
}

int
runas_get_ids(const struct conf *conf, uint32_t *ret_uid, uint32_t *ret_gid)
{
	const struct passwd *pw = find_entry(conf);

	if (!pw)
		return -1;
	*ret_uid = pw->pw_uid;
	*ret_gid = pw->pw_gid;
	return 0;
}

int
runas_become(const struct conf *conf, char err[CONF_ERR_MAX])
{
	const struct passwd *pw;

	if (runas_is_self(conf))
		return 0;
	pw = find_entry(conf);
	if (!pw) {
		snprintf(err, CONF_ERR_MAX,
		    "user %.80s is not in passwd(5), so that nobody knows its "
		    "group: create it",
		    conf->user);
		return -1;
	}
	if (initgroups(pw->pw_name, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 ||
	    setuid(pw->pw_uid) < 0) {
		snprintf(err, CONF_ERR_MAX, "cannot become user %.80s: %s",
		    conf->user, strerror(errno));
		return -1;
	}
	return 0;
}
