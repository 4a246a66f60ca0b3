/*
 * Runs a fuzz target once over files, without a fuzzer: for every normal test run.
 *
 * usage: <name>_fuzz FILE|FOLDER...
 *
 * Each input lies in a heap block of exactly its size, so that the address sanitizer
 * sees one byte too far. The empty input is always tried. A folder without inputs is an
 * error: a corpus that cannot be found would otherwise pass.
 */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_file(const char *path, size_t size)
{
	FILE    *file = fopen(path, "rb");
	uint8_t *data = malloc(size ? size : 1);

	if (!file || !data || fread(data, 1, size, file) != size) {
		perror(path);
		exit(1);
	}
	fclose(file);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
}

/* Runs the files of one folder, not of folders in it; returns how many. */
static size_t run_folder(const char *path)
{
	DIR           *folder = opendir(path);
	struct dirent *entry;
	size_t         count = 0;

	if (!folder) {
		perror(path);
		exit(1);
	}
	while ((entry = readdir(folder)) != NULL) {
		char        name[4096];
		struct stat st;

		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (stat(name, &st) != 0 || !S_ISREG(st.st_mode))
			continue;
		run_file(name, (size_t)st.st_size);
		count++;
	}
	closedir(folder);
	return count;
}

int main(int argc, char **argv)
{
	size_t count = 0;

	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) != 0) {
			perror(argv[i]);
			return 1;
		}
		if (S_ISREG(st.st_mode)) {
			run_file(argv[i], (size_t)st.st_size);
			count++;
		} else {
			count += run_folder(argv[i]);
		}
	}
	printf("%zu inputs\n", count);
	return count > 0 ? 0 : 1;
}
