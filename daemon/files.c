/* files.c - the limit of file descriptors. */
#include "daemon/files.h"

#include <sys/resource.h>

#include "daemon/log.h"

/* Of the writer, the keeper and two workers, each with the file and its WAL. */
#define FILES_PER_DB UINT64_C(8)
/* Standard ones, the log, event loops. */
#define FILES_ELSE 64
/* With fewer there is nothing to share. */
#define ROOM_LEAST 32

static uint64_t
count_open(const struct conf *conf)
{
	return conf->db_n + (conf->directory[0] ? conf->max_open : 0);
}

static bool
is_given(const struct conf *conf, enum conf_id id)
{
	return conf->origins[id].from != CONF_FROM_DEFAULT;
}

/* Half for those of the directory, at most; the rest for clients. */
static void
lower(struct conf *conf, uint64_t files_n)
{
	uint64_t taken_n = FILES_ELSE + FILES_PER_DB * conf->db_n;
	uint64_t room_n = files_n > taken_n ? files_n - taken_n : 0;

	if (room_n < ROOM_LEAST)
		return;
	if (conf->directory[0]) {
		uint64_t most = room_n / 2 / FILES_PER_DB;

		if (conf->max_open > most)
			conf->max_open = (uint32_t)most;
		room_n -= FILES_PER_DB * conf->max_open;
	}
	if (conf->max_clients > room_n)
		conf->max_clients = (uint32_t)room_n;
}

int
files_fit(struct conf *conf, char err[CONF_ERR_MAX])
{
	uint64_t dbs_n = count_open(conf);
	uint64_t need = FILES_ELSE + conf->max_clients + FILES_PER_DB * dbs_n;
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return 0;
	lim.rlim_cur = lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_max >= need)
		return 0;
	snprintf(err, CONF_ERR_MAX,
	    "at most %llu file descriptors are allowed (RLIMIT_NOFILE), and "
	    "max_clients = %u with %llu open databases needs %llu: raise the "
	    "limit (LimitNOFILE= of the service), or lower max_clients or "
	    "max_open",
	    (unsigned long long)lim.rlim_max, conf->max_clients,
	    (unsigned long long)dbs_n, (unsigned long long)need);
	if (is_given(conf, CONF_ID_max_clients) ||
	    is_given(conf, CONF_ID_max_open))
		return -1;
	lower(conf, lim.rlim_max);
	log_warn("%s; until then max_clients is %u, and max_open %u", err,
	    conf->max_clients, conf->max_open);
	return 0;
}
