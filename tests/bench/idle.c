/* idle.c - hold connections that do nothing, so that their price can be seen.
 *
 *	idle SOCKET DATABASE CLIENTS PROCESSES
 *
 * Each process opens its share of the connections (the library says HELLO on
 * each) and then only waits.  When all are open, "ready" is printed; at the end
 * of standard input everything ends.  The children read the parent's input
 * too, so they end with it.
 */
#include <err.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlpool.h>

#define SPARE_FDS 32 /* standard ones, the pipe, and what libc may need */

static unsigned
parse_number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n == 0 || n > INT_MAX)
		errx(2, "%s: not a number above 0", text);
	return (unsigned)n;
}

static void
raise_fd_limit(unsigned clients_n)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		err(1, "RLIMIT_NOFILE");
	if (limit.rlim_cur >= clients_n + SPARE_FDS)
		return;
	limit.rlim_cur = clients_n + SPARE_FDS;
	if (limit.rlim_max < limit.rlim_cur)
		limit.rlim_max = limit.rlim_cur; /* root may */
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		err(1, "%u clients in a process need more files", clients_n);
}

static void
wait_for_end(void)
{
	char byte;

	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

/* A child: open them, say so with a byte, wait. */
__attribute__((noreturn)) static void
hold(const struct sqlpool_options *options, unsigned clients_n, int said)
{
	struct sqlpool_conn **conns = calloc(
	    clients_n, sizeof(struct sqlpool_conn *));

	if (!conns)
		err(1, "%u clients", clients_n);
	raise_fd_limit(clients_n);
	for (unsigned i = 0; i < clients_n; i++) {
		if (sqlpool_open(options, &conns[i]) < 0)
			errx(1, "client %u of %u: %s", i + 1, clients_n,
			    sqlpool_get_error(conns[i])->message);
	}
	if (write(said, "", 1) != 1)
		err(1, "pipe");
	wait_for_end();
	for (unsigned i = 0; i < clients_n; i++)
		sqlpool_close(conns[i]);
	free(conns);
	exit(0);
}

static void
start_children(const struct sqlpool_options *options, unsigned clients_n,
    unsigned processes_n, int said[2])
{
	for (unsigned i = 0; i < processes_n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid > 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(said[0]);
		hold(options,
		    clients_n / processes_n + (i < clients_n % processes_n),
		    said[1]);
	}
	close(said[1]);
}

int
main(int argc, char **argv)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	unsigned clients_n, processes_n, ready_n = 0;
	int said[2], status, failed = 0;
	char byte;

	if (argc != 5)
		errx(2, "usage: idle SOCKET DATABASE CLIENTS PROCESSES");
	options.socket_path = argv[1];
	options.database = argv[2];
	options.app_name = "idle";
	clients_n = parse_number(argv[3]);
	processes_n = parse_number(argv[4]);
	if (processes_n > clients_n)
		errx(2, "more processes than clients");
	if (pipe(said) < 0)
		err(1, "pipe");
	start_children(&options, clients_n, processes_n, said);
	while (ready_n < processes_n && read(said[0], &byte, 1) == 1)
		ready_n++;
	if (ready_n == processes_n) {
		puts("ready");
		fflush(stdout);
		wait_for_end();
	}
	while (wait(&status) > 0)
		failed |= status != 0;
	return failed || ready_n < processes_n;
}
