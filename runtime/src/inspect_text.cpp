// Reports of tasks as text and as JSON.
#include <array>
#include <cstdio>
#include <string>
#include <string_view>

#include "inspection.hpp"

namespace ouro {
namespace detail {

std::string to_text(clock::duration length) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(length).count();
    if (ms < 1000) return std::to_string(ms) + " ms";
    if (ms < 60'000) return std::to_string(ms / 1000) + "." + std::to_string(ms / 100 % 10) + " s";
    const auto s = ms / 1000;
    if (s < 3600) return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
    return std::to_string(s / 3600) + " h " + std::to_string(s / 60 % 60) + " min";
}

std::string to_text(const std::source_location& where) {
    const std::string_view file = where.file_name();
    const auto folder = file.rfind('/');
    return std::string(folder == file.npos ? file : file.substr(folder + 1)) + ":" +
           std::to_string(where.line());
}

namespace {

void replace_all(std::string& text, std::string_view what, std::string_view with) {
    for (auto at = text.find(what); at != text.npos; at = text.find(what, at + with.size())) {
        text.replace(at, what.size(), with);
    }
}

/// "task 7", with its name if it was given one.
std::string title(const task_report& of) {
    const std::string number = "task " + std::to_string(of.id);
    return of.name == "task-" + std::to_string(of.id) ? number : number + " \"" + of.name + "\"";
}

std::string title(std::uint64_t id, std::span<const task_report> all) {
    for (const task_report& each : all) {
        if (each.id == id) return title(each);
    }
    return "task " + std::to_string(id);
}

/// Writes JSON, one value after the other; commas come by themselves.
class json_writer {
  public:
    json_writer& open(char bracket) {
        comma();
        text_ += bracket;
        first_ = true;
        return *this;
    }
    json_writer& close(char bracket) {
        text_ += bracket;
        first_ = false;
        return *this;
    }
    json_writer& key(std::string_view name) {
        comma();
        quote(name);
        text_ += ':';
        first_ = true;
        return *this;
    }
    json_writer& value(std::string_view word) {
        comma();
        quote(word);
        return *this;
    }
    json_writer& value(std::uint64_t number) {
        comma();
        text_ += std::to_string(number);
        return *this;
    }
    json_writer& milliseconds(clock::duration length) {
        comma();
        text_ +=
            std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(length).count());
        return *this;
    }
    json_writer& value(const std::vector<std::uint64_t>& numbers) {
        open('[');
        for (const std::uint64_t each : numbers) value(each);
        return close(']');
    }
    json_writer& value(const std::source_location& where) {
        open('{').key("file").value(where.file_name());
        key("line").value(where.line());
        key("function").value(short_function_name(where.function_name()));
        return close('}');
    }
    std::string take() { return std::move(text_); }

  private:
    void comma() {
        if (!first_) text_ += ',';
        first_ = false;
    }
    void quote(std::string_view word);

    std::string text_;
    bool first_ = true;
};

/// The length of the UTF-8 sequence at the start of `text`; 0 when there is none.
std::size_t utf8_length(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text.front());
    const std::size_t length = lead < 0x80                    ? 1
                               : lead >= 0xc2 && lead <= 0xdf ? 2
                               : lead >= 0xe0 && lead <= 0xef ? 3
                               : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                              : 0;
    if (length == 0 || length > text.size()) return 0;
    for (std::size_t i = 1; i < length; ++i) {
        if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
    }
    const auto second = length > 1 ? static_cast<unsigned char>(text[1]) : 0;
    const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
    const bool beyond = (lead == 0xed && second > 0x9f) || (lead == 0xf4 && second > 0x8f);
    return overlong || beyond ? 0 : length;
}

/// A name may hold anything: what is not UTF-8 becomes U+FFFD, as JSON has no bytes.
void json_writer::quote(std::string_view word) {
    text_ += '"';
    while (!word.empty()) {
        const char c = word.front();
        const std::size_t length = utf8_length(word);
        if (c == '"' || c == '\\') {
            text_ += '\\';
            text_ += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            std::array<char, 8> escaped{};
            std::snprintf(escaped.data(), escaped.size(), "\\u%04x", static_cast<unsigned>(c));
            text_ += escaped.data();
        } else if (length == 0) {
            text_ += "\\ufffd";
        } else {
            text_ += word.substr(0, length);
        }
        word.remove_prefix(length == 0 ? 1 : length);
    }
    text_ += '"';
}

void write(json_writer& out, const task_report& task) {
    out.open('{').key("id").value(task.id);
    out.key("name").value(task.name);
    out.key("stage").value(to_string(task.stage));
    if (task.created.line() != 0) out.key("created").value(task.created);
    out.key("cancelling").value(task.cancelling);
    if (task.cancelling) out.key("cause").value(to_string(task.cause));
    if (!task.reason.empty()) out.key("reason").value(task.reason);
    out.key("age_ms").milliseconds(task.age);
    out.key("waits_for_ms").milliseconds(task.waits_for);
    out.key("scopes").open('[');
    for (const scope_report& each : task.scopes) {
        out.open('{').key("kind").value(each.kind);
        out.key("where").value(each.where);
        out.key("owner").value(each.owner);
        if (each.left) out.key("left_ms").milliseconds(*each.left);
        out.close('}');
    }
    out.close(']');
    out.key("frames").open('[');
    for (const std::source_location& each : task.frames) out.value(each);
    out.close(']');
    if (!task.waits_in.empty()) out.key("waits_in").value(task.waits_in);
    if (!task.details.empty()) out.key("details").value(task.details);
    out.key("awaits").value(task.awaits);
    out.key("awaited_by").value(task.awaited_by);
    out.close('}');
}

}  // namespace
}  // namespace detail

std::string short_function_name(std::string_view function) {
    // Bindings of template parameters, in brackets behind the name.
    if (const auto bindings = function.find(" ["); bindings != function.npos) {
        function = function.substr(0, bindings);
    }
    std::string text(function);
    // Lambdas and unnamed namespaces look like arguments.
    detail::replace_all(text, "(anonymous namespace)::", "");
    detail::replace_all(text, "{anonymous}::", "");
    detail::replace_all(text, "(anonymous class)::operator()", "lambda");
    detail::replace_all(text, "(anonymous class)", "lambda");
    detail::replace_all(text, "<lambda", "lambda<");
    detail::replace_all(text, "operator()", "operator_call");
    std::string name;
    int depth = 0;
    for (const char c : text) {
        if (c == '(' || c == '<') ++depth;
        if (depth == 0) name += c;
        if ((c == ')' || c == '>') && depth > 0) --depth;
    }
    for (const std::string_view qualifier : {" const", " volatile", " noexcept", " &&", " &"}) {
        if (name.ends_with(qualifier)) name.resize(name.size() - qualifier.size());
    }
    if (const auto type = name.rfind(' '); type != name.npos) name.erase(0, type + 1);
    while (!name.empty() && (name.front() == '&' || name.front() == '*')) name.erase(0, 1);
    detail::replace_all(name, "operator_call", "operator()");
    return name.empty() ? std::string(function) : name;
}

std::string scope_report::describe(std::uint64_t task, std::span<const task_report> others) const {
    std::string text = kind + (where.line() != 0 ? " at " + detail::to_text(where) : "");
    if (owner != task) text += " of " + detail::title(owner, others);
    if (!left) return text;
    return text + (*left < clock::duration::zero()
                       ? ", deadline passed " + detail::to_text(-*left) + " ago"
                       : ", " + detail::to_text(*left) + " left");
}

std::string task_report::describe(std::span<const task_report> others) const {
    std::string text = detail::title(*this) + ": " + to_string(stage);
    if (!waits_in.empty()) text += " in " + waits_in;
    if (!details.empty()) text += " (" + details + ")";
    if (stage == task_stage::waiting) text += " for " + detail::to_text(waits_for);
    if (cancelling) {
        text += ", cancelling " + std::to_string(cancelling) + " (" + to_string(cause) +
                (reason.empty() ? "" : ": " + reason) + ")";
    }
    text += "\n";
    text += "    created " + (created.line() != 0 ? "at " + detail::to_text(created) + ", " : "") +
            detail::to_text(age) + " ago\n";
    for (const scope_report& each : scopes) text += "    in " + each.describe(id, others) + "\n";
    for (const std::source_location& each : frames) {
        const bool past = stage == task_stage::running && &each == &frames.back();
        text += "    " + short_function_name(each.function_name()) + (past ? " past " : " at ") +
                detail::to_text(each) + "\n";
    }
    for (const std::uint64_t each : awaits) {
        text += "    awaits " + detail::title(each, others) + "\n";
    }
    for (const std::uint64_t each : awaited_by) {
        text += "    awaited by " + detail::title(each, others) + "\n";
    }
    return text;
}

std::string dump_tasks(loop& of) {
    const auto all = capture_tasks(of);
    std::string text = std::to_string(all.size()) + (all.size() == 1 ? " task\n" : " tasks\n");
    if (const auto circle = find_circle(all); !circle.empty()) {
        text += "these wait for each other, none can end:";
        for (const std::uint64_t each : circle) text += " " + detail::title(each, all) + " ->";
        text += " " + detail::title(circle.front(), all) + "\n";
    }
    for (const task_report& each : all) text += each.describe(all);
    return text;
}

std::string dump_tasks_json(loop& of) {
    const auto all = capture_tasks(of);
    detail::json_writer out;
    out.open('{').key("tasks").open('[');
    for (const task_report& each : all) detail::write(out, each);
    out.close(']');
    out.key("circle").value(find_circle(all));
    out.close('}');
    return out.take();
}

}  // namespace ouro
