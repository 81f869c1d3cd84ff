/*
 * Prints the completion of a shell for clusterctl or clusterd, from the tables that the
 * programs themselves are made of. Runs at build time only.
 *
 *	completion bash|zsh|fish clusterctl|clusterd
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct option {
	const char *letter, *name, *argument, *help;
};

struct verb {
	const char *word, *arguments, *help;
};

struct program {
	const char *name;
	const struct option *options;
	size_t option_count;
	const struct verb *verbs;
	size_t verb_count;
};

static const struct option ctl_options[] = {
#define OPT(letter, name, argument, field, kind, help) { letter, name, argument, help },
#include "cmd/clusterctl/options.def"
#undef OPT
};

/* An option that stands for a key has the help of the key. */
static const struct {
	const char *name, *help;
} key_help[] = {
#define KEY(section, name, type, fallback, min, max, when, help) { #section "." #name, help },
#define LISTEN_KEY KEY
#include "config/keys.def"
#undef LISTEN_KEY
#undef KEY
};

static const struct {
	struct option option;
	const char *key;
} daemon_rows[] = {
#define OPT(letter, name, argument, key, group, help) { { letter, name, argument, help }, key },
#include "cmd/clusterd/options.def"
#undef OPT
};

static const struct verb verbs[] = {
#define VERB(id, word, arguments, min, max, run, help) { word, arguments, help },
#include "cmd/clusterctl/verbs.def"
#undef VERB
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct option daemon_options[COUNT(daemon_rows)];

static const struct program programs[] = {
	{ "clusterctl", ctl_options, COUNT(ctl_options), verbs, COUNT(verbs) },
	{ "clusterd", daemon_options, COUNT(daemon_options), NULL, 0 },
};

static void fill_daemon_options(void)
{
	for (size_t i = 0; i < COUNT(daemon_rows); i++) {
		daemon_options[i] = daemon_rows[i].option;
		for (size_t k = 0; k < COUNT(key_help); k++)
			if (strcmp(key_help[k].name, daemon_rows[i].key) == 0)
				daemon_options[i].help = key_help[k].help;
	}
}

/* Text inside of '...': what means something to the shell is left out. */
static void put_help(const char *help, const char *without)
{
	for (; *help; help++)
		if (!strchr(without, *help))
			putchar(*help);
}

static const char zsh_special[] = "'[]\\:`$\"", fish_special[] = "'\\";

/* `wild` is what stands before a ?, where the shell would look for files that match. */
static void put_choices(const char *argument, const char *wild)
{
	for (; *argument; argument++) {
		if (*argument == '?')
			fputs(wild, stdout);
		putchar(*argument == '|' ? ' ' : *argument);
	}
}

static bool is_file(const struct option *option)
{
	return strcmp(option->argument, "FILE") == 0 || strcmp(option->argument, "PATH") == 0;
}

/* The words that an argument of a verb may be, or NULL; numbers of slots are not among them. */
static const char *words_of(const struct verb *verb)
{
	if (strcmp(verb->arguments, "ready|stopped") == 0)
		return "ready stopped";
	return strcmp(verb->arguments, "SLOT|all") == 0 ? "all" : NULL;
}

static bool takes_signal(const struct verb *verb)
{
	return strncmp(verb->arguments, "SIGNAL", 6) == 0;
}

/* "auto|always|never": a closed list of words, in small letters. */
static bool is_choice(const char *argument)
{
	return strchr(argument, '|') && !strpbrk(argument, "NSA[+");
}

/* ---- bash ---- */

static void bash_words(const struct program *program)
{
	for (size_t i = 0; i < program->option_count; i++)
		printf("--%s ", program->options[i].name);
	for (size_t i = 0; i < program->verb_count; i++)
		printf("%s ", program->verbs[i].word);
}

static void put_bash(const struct program *program)
{
	printf("# bash completion of %s\n_%s()\n{\n", program->name, program->name);
	puts("    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
	     "    COMPREPLY=()\n"
	     "    case $before in");
	for (size_t i = 0; i < program->option_count; i++) {
		const struct option *o = &program->options[i];

		if (!o->argument[0])
			continue;
		if (o->letter[0])
			printf("    -%s|", o->letter);
		else
			printf("    ");
		printf("--%s) ", o->name);
		/* For a file none of ours are offered: then the shell offers its own. */
		if (is_choice(o->argument)) {
			fputs("mapfile -t COMPREPLY < <(compgen -W '", stdout);
			put_choices(o->argument, "");
			fputs("' -- \"$word\"); ", stdout);
		}
		puts("return ;;");
	}
	for (size_t i = 0; i < program->verb_count; i++) {
		const struct verb *verb = &program->verbs[i];

		if (words_of(verb))
			printf("    %s) mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$word\"); return ;;\n",
			       verb->word, words_of(verb));
		if (strcmp(verb->arguments, "SLOT") == 0 || strcmp(verb->arguments, "N|+N|-N") == 0)
			printf("    %s) return ;;\n", verb->word);
		if (takes_signal(verb))
			printf("    %s) mapfile -t COMPREPLY < <(compgen -A signal -- \"$word\"); return ;;\n",
			       verb->word);
	}
	fputs("    esac\n    mapfile -t COMPREPLY < <(compgen -W '", stdout);
	bash_words(program);
	printf("' -- \"$word\")\n}\ncomplete -o default -F _%s %s\n", program->name, program->name);
}

/* ---- zsh ---- */

static void zsh_option(const struct option *o)
{
	if (o->letter[0])
		printf("    '(-%s --%s)'{-%s,--%s%s}'[", o->letter, o->name, o->letter, o->name,
		       o->argument[0] ? "=" : "");
	else
		printf("    '--%s%s[", o->name, o->argument[0] ? "=" : "");
	put_help(o->help, zsh_special);
	putchar(']');
	if (o->argument[0]) {
		putchar(':');
		put_help(o->argument, zsh_special);
		putchar(':');
		if (is_file(o))
			fputs("_files", stdout);
		if (is_choice(o->argument)) {
			putchar('(');
			put_choices(o->argument, "\\");
			putchar(')');
		}
	}
	puts("' \\");
}

/* What follows a verb is no file. */
static void zsh_arguments(const struct program *program)
{
	fputs("    '1: :{_describe verb verbs}' '*:: :{case $words[1] in", stdout);
	for (size_t i = 0; i < program->verb_count; i++) {
		const struct verb *verb = &program->verbs[i];

		if (words_of(verb))
			printf(" (%s) compadd %s;;", verb->word, words_of(verb));
		if (takes_signal(verb))
			printf(" (%s) _signals;;", verb->word);
	}
	puts(" esac}'");
}

static void put_zsh(const struct program *program)
{
	printf("#compdef %s\n", program->name);
	if (program->verb_count > 0) {
		puts("local -a verbs\nverbs=(");
		for (size_t i = 0; i < program->verb_count; i++) {
			printf("    '%s:", program->verbs[i].word);
			put_help(program->verbs[i].help, zsh_special);
			puts("'");
		}
		puts(")");
	}
	puts("_arguments -S \\");
	for (size_t i = 0; i < program->option_count; i++)
		zsh_option(&program->options[i]);
	if (program->verb_count > 0)
		zsh_arguments(program);
	else
		puts("    '1:program:_command_names -e' '*::argument:_normal'");
}

/* ---- fish ---- */

static void fish_verb(const char *program, const struct verb *verb)
{
	printf("complete -c %s -n __fish_use_subcommand -a %s -d '", program, verb->word);
	put_help(verb->help, fish_special);
	puts("'");
	if (words_of(verb))
		printf("complete -c %s -n '__fish_seen_subcommand_from %s' -a '%s'\n", program, verb->word,
		       words_of(verb));
	if (takes_signal(verb))
		printf("complete -c %s -n '__fish_seen_subcommand_from %s' -a 'HUP INT QUIT USR1 USR2 TERM CONT STOP KILL'\n",
		       program, verb->word);
}

static void put_fish(const struct program *program)
{
	printf("# fish completion of %s\n", program->name);
	if (program->verb_count > 0)
		printf("complete -c %s -f\n", program->name); /* what follows a verb is no file */
	for (size_t i = 0; i < program->option_count; i++) {
		const struct option *o = &program->options[i];

		printf("complete -c %s", program->name);
		if (o->letter[0])
			printf(" -s %s", o->letter);
		printf(" -l %s", o->name);
		if (is_file(o))
			fputs(" -r -F", stdout);
		else if (is_choice(o->argument)) {
			fputs(" -x -a '", stdout);
			put_choices(o->argument, "\\");
			putchar('\'');
		} else if (o->argument[0])
			fputs(" -x", stdout);
		fputs(" -d '", stdout);
		put_help(o->help, fish_special);
		puts("'");
	}
	for (size_t i = 0; i < program->verb_count; i++)
		fish_verb(program->name, &program->verbs[i]);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *shell;
		void (*put)(const struct program *program);
	} shells[] = { { "bash", put_bash }, { "zsh", put_zsh }, { "fish", put_fish } };

	fill_daemon_options();
	for (size_t i = 0; argc == 3 && i < COUNT(shells) * COUNT(programs); i++) {
		const struct program *program = &programs[i % COUNT(programs)];

		if (strcmp(shells[i / COUNT(programs)].shell, argv[1]) == 0 &&
		    strcmp(program->name, argv[2]) == 0) {
			shells[i / COUNT(programs)].put(program);
			return fflush(stdout) == 0 ? 0 : 1;
		}
	}
	fputs("usage: completion bash|zsh|fish clusterctl|clusterd\n", stderr);
	return 64;
}
