/* listen.c - where the socket is, and how it is made. */
#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf/names.h"
#include "daemon/runas.h"
#include "proto/sockpath.h"

#define BACKLOG 1024
/* SD_LISTEN_FDS_START */
#define PASSED_FD 3

/* --- The path ---------------------------------------------------------------- */

/* A directory of the user's own under /tmp: nobody else may have made it. */
static int
make_tmp_dir(const char *path, char err[CONF_ERR_MAX])
{
	char dir[CONF_SOCKET_MAX + 1];
	struct stat st;
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || strncmp(dir, "/tmp/", 5) != 0)
		return 0;
	*slash = '\0';
	if (mkdir(dir, 0700) == 0)
		return 0;
	if (errno != EEXIST || lstat(dir, &st) < 0) {
		snprintf(err, CONF_ERR_MAX,
		    "cannot make %s: %s; choose "
		    "another socket with -s PATH",
		    dir, strerror(errno));
		return -1;
	}
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 077) != 0) {
		snprintf(err, CONF_ERR_MAX,
		    "%s is not a directory of yours "
		    "with mode 0700; remove it, or choose another socket "
		    "with -s PATH",
		    dir);
		return -1;
	}
	return 0;
}

static int
choose_path(const struct conf *conf, char out[CONF_SOCKET_MAX + 1],
    char err[CONF_ERR_MAX])
{
	if (conf->socket[0]) {
		snprintf(out, CONF_SOCKET_MAX + 1, "%s", conf->socket);
		return 0;
	}
	if (!runas_is_self(conf)) {
		snprintf(err, CONF_ERR_MAX,
		    "started as root to run as %.80s: say where to listen, in a "
		    "directory of that user's, with -s PATH or \"socket\" in "
		    "the configuration",
		    conf->user);
		return -1;
	}
	if (sockpath_make_default(getenv("XDG_RUNTIME_DIR"), geteuid(), out,
		CONF_SOCKET_MAX + 1) < 0) {
		snprintf(err, CONF_ERR_MAX,
		    "$XDG_RUNTIME_DIR is too long "
		    "for a socket's path; choose one with -s PATH");
		return -1;
	}
	return make_tmp_dir(out, err);
}

/* --- Listening ----------------------------------------------------------------- */

/* Give the socket file to whom the configuration says; as it comes, to who the
 * daemon runs as. */
static int
give_path(const struct conf *conf, const struct listener *l)
{
	uint32_t uid = (uint32_t)-1, gid = (uint32_t)-1;

	if (!runas_is_self(conf) && runas_get_ids(conf, &uid, &gid) < 0)
		return -1;
	if (conf->socket_owner[0] &&
	    names_find_user(conf->socket_owner, &uid) < 0)
		return -1;
	if (conf->socket_group[0] &&
	    names_find_group(conf->socket_group, &gid) < 0)
		return -1;
	if (uid == (uint32_t)-1 && gid == (uint32_t)-1)
		return 0;
	return sockfile_give(l->path, &l->file, uid, gid);
}

static int
make_socket(const struct conf *conf, struct listener *l, char err[CONF_ERR_MAX])
{
	struct sockfile_wish wish = { l->path, conf->socket_mode,
		"choose another socket with -s PATH" };

	if (sockfile_bind(&wish, &l->file, &l->fd, err) < 0)
		return -1;
	if (give_path(conf, l) < 0) {
		snprintf(err, CONF_ERR_MAX,
		    "cannot give the socket %s to its owner and group: %s; "
		    "choose a group of your own as socket_group, and no "
		    "socket_owner, or start it as root",
		    l->path, strerror(errno));
	} else if (listen(l->fd, BACKLOG) < 0) {
		snprintf(err, CONF_ERR_MAX, "listen: %s", strerror(errno));
	} else {
		return 0;
	}
	listen_close(l);
	return -1;
}

/* --- A socket that was passed ------------------------------------------------- */

/* How many were passed to this process: sd_listen_fds(3). */
static long
count_passed(void)
{
	const char *pid = getenv("LISTEN_PID");
	const char *n = getenv("LISTEN_FDS");

	if (!pid || !n || strtol(pid, NULL, 10) != (long)getpid())
		return 0;
	return strtol(n, NULL, 10);
}

static int
fail_passed(char err[CONF_ERR_MAX], const char *what)
{
	snprintf(err, CONF_ERR_MAX,
	    "the service manager passed %s: its socket unit must have one "
	    "ListenStream=, with the path of a Unix socket",
	    what);
	return -1;
}

static int
take_passed(struct listener *l, char err[CONF_ERR_MAX])
{
	struct sockaddr_un sa = { 0 };
	socklen_t n = sizeof(sa);
	int on = 0, type = 0;
	socklen_t on_n = sizeof(on), type_n = sizeof(type);

	if (getsockname(PASSED_FD, (struct sockaddr *)&sa, &n) < 0 ||
	    sa.sun_family != AF_UNIX || !sa.sun_path[0])
		return fail_passed(err, "something that is no such socket");
	if (getsockopt(PASSED_FD, SOL_SOCKET, SO_TYPE, &type, &type_n) < 0 ||
	    type != SOCK_STREAM ||
	    getsockopt(PASSED_FD, SOL_SOCKET, SO_ACCEPTCONN, &on, &on_n) < 0 ||
	    !on)
		return fail_passed(err, "a socket that does not listen");
	if (fcntl(PASSED_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(PASSED_FD, F_SETFL, O_NONBLOCK) < 0)
		return fail_passed(err, "a socket that cannot be used");
	l->fd = PASSED_FD;
	l->passed = true;
	snprintf(l->path, sizeof(l->path), "%.*s", (int)sizeof(sa.sun_path),
	    sa.sun_path);
	return 0;
}

int
listen_open(
    const struct conf *conf, struct listener *ret_l, char err[CONF_ERR_MAX])
{
	long passed_n = count_passed();

	*ret_l = (struct listener){ .fd = -1 };
	if (passed_n > 1)
		return fail_passed(err, "several sockets");
	if (passed_n == 1)
		return take_passed(ret_l, err);
	if (choose_path(conf, ret_l->path, err) < 0)
		return -1;
	return make_socket(conf, ret_l, err);
}

void
listen_close(struct listener *l)
{
	if (l->fd < 0)
		return;
	close(l->fd);
	l->fd = -1;
	sockfile_remove(l->path, &l->file);
}
