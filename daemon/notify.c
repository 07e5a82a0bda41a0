/* notify.c - datagrams to the service manager. */
#include "daemon/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* sd_watchdog_enabled(3): it may be meant for another process. */
static int64_t
find_watchdog(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	return strtoll(usec, NULL, 10);
}

void
notify_open(struct notify *n)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;

	*n = (struct notify){ .fd = -1, .to.sun_family = AF_UNIX };
	if (len < 2 || len > sizeof(n->to.sun_path) ||
	    (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(n->to.sun_path, path, len);
	if (path[0] == '@') /* an abstract name: unix(7) */
		n->to.sun_path[0] = '\0';
	n->to_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	n->watchdog_us = find_watchdog();
}

void
notify_close(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

void
notify_say(const struct notify *n, const char *fmt, ...)
{
	char text[512];
	va_list args;
	int len;

	if (n->fd < 0)
		return;
	va_start(args, fmt);
	len = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (len <= 0)
		return;
	/* one that is lost is followed by others, or by a time-out there */
	(void)!sendto(n->fd, text,
	    (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1,
	    MSG_NOSIGNAL, (const struct sockaddr *)&n->to, n->to_n);
}
