/*
 * Runs a fuzz target over files, without a fuzzer: replay FOLDER_OR_FILE ...
 * A finding aborts. No input at all is a failure too.
 */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	long size = -1;
	uint8_t *data;

	if (file && fseek(file, 0, SEEK_END) == 0)
		size = ftell(file);
	data = size < 0 ? NULL : malloc((size_t)size + (size == 0));
	if (!data || fseek(file, 0, SEEK_SET) < 0 || fread(data, 1, (size_t)size, file) != (size_t)size) {
		perror(path);
		exit(2);
	}
	fclose(file);
	(void)LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
	return 1;
}

static int replay(const char *path)
{
	struct stat status;
	struct dirent *entry;
	DIR *folder;
	int count = 0;

	if (stat(path, &status) == 0 && S_ISREG(status.st_mode))
		return replay_file(path);
	folder = opendir(path);
	if (!folder) {
		perror(path);
		exit(2);
	}
	while ((entry = readdir(folder))) {
		char file[PATH_MAX];

		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			count += replay(file);
	}
	closedir(folder);
	return count;
}

int main(int argc, char **argv)
{
	int count = 0;

	for (int i = 1; i < argc; i++)
		count += replay(argv[i]);
	printf("%d inputs\n", count);
	return count == 0;
}
