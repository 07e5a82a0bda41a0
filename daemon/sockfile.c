/* sockfile.c - the file of a Unix socket. */
#include "daemon/sockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/log.h"

static struct sockaddr_un
make_address(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	return sa;
}

static int
open_socket(char err[CONF_ERR_MAX])
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		snprintf(err, CONF_ERR_MAX, "socket: %s", strerror(errno));
	return fd;
}

/* Is somebody listening there?  Else a socket file that is left is removed.  (To
 * connect to a file that is no socket is refused just so: unix(7).) */
static int
clear_path(const struct sockfile_wish *wish, char err[CONF_ERR_MAX])
{
	struct sockaddr_un sa = make_address(wish->path);
	struct stat st;
	int fd, rc;

	if (lstat(wish->path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(err, CONF_ERR_MAX,
		    "%s exists and is not a socket; remove it, or %s",
		    wish->path, wish->remedy);
		return -1;
	}
	fd = open_socket(err);
	if (fd < 0)
		return -1;
	rc = connect(fd, (struct sockaddr *)&sa, sizeof(sa));
	if (rc == 0 || errno != ECONNREFUSED) {
		snprintf(err, CONF_ERR_MAX,
		    "a daemon listens on %s already%s; stop it, or %s",
		    wish->path, rc == 0 ? "" : ", or it cannot be asked",
		    wish->remedy);
		close(fd);
		return -1;
	}
	close(fd);
	log_info(
	    "removing the socket %s, which a daemon left behind", wish->path);
	unlink(wish->path);
	return 0;
}

int
sockfile_bind(const struct sockfile_wish *wish, struct sockfile *ret_file,
    int *ret_fd, char err[CONF_ERR_MAX])
{
	struct sockaddr_un sa = make_address(wish->path);
	struct stat st;
	mode_t old;
	int fd, rc;

	if (clear_path(wish, err) < 0)
		return -1;
	fd = open_socket(err);
	if (fd < 0)
		return -1;
	old = umask(0777 & ~wish->mode);
	rc = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	umask(old);
	if (rc < 0 || lstat(wish->path, &st) < 0) {
		snprintf(err, CONF_ERR_MAX,
		    "cannot listen on %s: %s; make sure that its directory "
		    "exists and is yours to write, or %s",
		    wish->path, strerror(errno), wish->remedy);
		close(fd);
		return -1;
	}
	*ret_file = (struct sockfile){ st.st_dev, st.st_ino };
	*ret_fd = fd;
	return 0;
}

static bool
is_it(const struct stat *st, const struct sockfile *file)
{
	return S_ISSOCK(st->st_mode) && st->st_dev == file->dev &&
	    st->st_ino == file->ino;
}

/* Root does this in a directory of somebody else, who could put another file
 * there. */
int
sockfile_give(
    const char *path, const struct sockfile *file, uint32_t uid, uint32_t gid)
{
	int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int rc = -1;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && is_it(&st, file))
		rc = fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
	else
		errno = EEXIST;
	close(fd);
	return rc;
}

void
sockfile_remove(const char *path, struct sockfile *file)
{
	struct stat st;

	if (file->ino && lstat(path, &st) == 0 && is_it(&st, file))
		unlink(path);
	file->ino = 0;
}
