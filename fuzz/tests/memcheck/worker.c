/* A worker for one model, which gives its argument back. It reads the argument's file into a block that just holds it and, at
   each odd `load` and if its argument says so, a byte behind that block: no result shows it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *block;
static long length;
static volatile char seen;

static int take(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/input_0.pb", folder);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) return 0;
    length = ftell(file);
    rewind(file);
    free(block);
    block = malloc((size_t)length);
    int whole = fread(block, 1, (size_t)length, file) == (size_t)length;
    fclose(file);
    return whole;
}

static int give(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/output_0.pb", folder);
    FILE *file = fopen(path, "wb");
    if (!file) return 0;
    int whole = fwrite(block, 1, (size_t)length, file) == (size_t)length;
    fclose(file);
    return whole;
}

static void read_to(long end) {
    for (long k = 0; k < end; k++) seen = block[k];
}

int main(int argc, char **argv) {
    long behind = argc > 1 && !strcmp(argv[1], "behind");
    long loads = 0;
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *folder = strrchr(line, '\t');
        int done = 1;
        if (!strncmp(line, "load\t", 5)) {
            loads++;
            done = take(folder + 1);
        } else if (!strncmp(line, "run\t", 4)) {
            read_to(length + (loads % 2 ? behind : 0));
        } else if (!strncmp(line, "save\t", 5)) {
            done = give(folder + 1);
        }
        puts(done ? "{\"ok\":true}" : "{\"ok\":false,\"error\":\"a file\"}");
        fflush(stdout);
    }
    return 0;
}
