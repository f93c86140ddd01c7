// A pipeline of programs as a shell builds one, `printf ... | sort | uniq -c`, with its own words
// at the front and its own eyes at the end.
#include <cstdio>
#include <string>

#include <ouro/ouro.hpp>

using ouro::stdio;

ouro::task<int> count_words() {
    auto link = co_await ouro::pipe(ouro::loop::current());
    auto sort = co_await ouro::create_subprocess_exec({"sort"},
                                                      {.in = stdio::pipe, .out = link.writer.fd()});
    auto count = co_await ouro::create_subprocess_exec(
        {"uniq", "-c"}, {.in = link.reader.fd(), .out = stdio::pipe});
    // Both have their ends; as long as we keep ours, `uniq` sees no end of its input.
    link.writer.close();
    link.reader.close();

    auto [sorted, counted] = co_await ouro::gather(
        sort.communicate("pear\napple\npear\nplum\napple\npear\n"), count.communicate());
    std::printf("%s", counted.out->c_str());
    co_return *sort.return_code() + *count.return_code();
}

int main() { return ouro::run(count_words); }
