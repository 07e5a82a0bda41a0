/* fakedaemon.c - scripted replies on a socket with a name. */
#include "tests/lib/fakedaemon.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void *
run(void *arg)
{
	struct fakedaemon *d = arg;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	for (fake_play *const *play = d->plays; *play; play++) {
		struct fakeserver fs = { .client_fd = -1 };

		fs.fd = accept(d->listener, NULL, NULL);
		ck_assert_int_ge(fs.fd, 0);
		(*play)(&fs);
		if (fs.fd >= 0)
			close(fs.fd);
		buf_fini(&fs.in);
		buf_fini(&fs.out);
	}
	return NULL;
}

void
fakedaemon_rise(struct fakedaemon *d, fake_play *const *plays)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	d->plays = plays;
	strncpy(address.sun_path, d->path, sizeof(address.sun_path) - 1);
	d->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(d->listener, 0);
	ck_assert_int_eq(
	    bind(d->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(d->listener, 10), 0);
	ck_assert_int_eq(pthread_create(&d->thread, NULL, run, d), 0);
}

void
fakedaemon_start(struct fakedaemon *d, fake_play *const *plays)
{
	*d = (struct fakedaemon){ .dir = "/tmp/fake.XXXXXX" };
	ck_assert_ptr_nonnull(mkdtemp(d->dir));
	snprintf(d->path, sizeof(d->path), "%s/s", d->dir);
	fakedaemon_rise(d, plays);
}

void
fakedaemon_rest(struct fakedaemon *d)
{
	pthread_join(d->thread, NULL);
	close(d->listener);
	unlink(d->path);
	d->listener = -1;
}

void
fakedaemon_stop(struct fakedaemon *d)
{
	if (d->listener >= 0)
		fakedaemon_rest(d);
	rmdir(d->dir);
}
