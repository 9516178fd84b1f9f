# ruff: noqa: E501 - a template is a line
"""Templates that `render` and `stream_template` have to render alike."""

import django

INCLUDED_TEMPLATES = {
    "inner.html": "<i>{{ text }} {{ slow }} {{ x }}{% for i in items %}{{ i }}{% endfor %}</i>",
    "boxed.html": "({{ content }} {{ text }} {{ slow }})",
    "deep.html": "{% include 'inner.html' with x=slow_markup %}{% include 'boxed.html' only %}",
    "broken.html": "{{ text }}\n{{ slow|fails }}",
    "base.html": "<{% block title %}base {{ slow }}{% endblock %}|{% block body %}"
    "{% for i in items %}{{ i }}{% endfor %}{% endblock %}>{{ twice }}",
    "middle.html": "{% extends 'base.html' %}{% block title %}middle {{ block.super }}{% endblock %}"
    "{% block body %}<{% block inside %}in{% endblock %}>{{ block.super }}{% endblock %}",
    "recursive.html": "{{ rows|length }}{% if depth %}{% include 'recursive.html' with depth=0 %}"
    "{% endif %}",
}

TEMPLATES = [
    # Values and filters
    "text {{ text }}",
    "{{ markup }} {{ safe }} {{ slow_markup }} {{ slow_safe }} {{ slow_markup|safe }}",
    "{{ slow }}{{ slow }}{{ slow|upper }}{{ slow|add:slow }}{{ text|add:slow|title }}",
    "{{ slow_none }} {{ slow_none|default:'-' }} {{ slow_none|default_if_none:slow }}",
    "{{ missing }} {{ missing|default:slow }} {{ missing.x }} {{ slow.missing }}",
    "{{ text|brackets:slow }} {{ slow|brackets }} {{ slow_markup|brackets }} {{ twice }}",
    "{{ slow_list }} {{ slow_list.1 }} {{ slow_list|length }} {{ slow_list|join:slow_markup }}",
    "{{ items }} {{ items|length }} {{ items|join:', ' }} {{ items|first }} {{ items.1 }}",
    "{{ items|slice:':2' }} {{ items.9 }} {{ items.x }} {{ rows.0.name }} {{ rows|last }}",
    "{{ rows|dictsort:'name' }} {{ slow_list|json_script:'x' }} {{ items|json_script:'x' }}",
    "{{ items|unordered_list }} {{ items|yesno }} {{ none|yesno }} {{ none|default:'-' }}",
    "{{ thing.name }} {{ thing.deep.er.x }} {{ thing.parts }} {{ thing.parts.0 }} {{ thing.no }}",
    "{{ slow_time|date:'Y-m-d' }} {{ slow_time }} {{ slow_number|floatformat:2 }} {{ slow_number }}",
    "{{ listed.0 }} {{ listed.1|upper }} {{ 'x'|add:slow }} {{ _('x') }} {{ 12.5 }}",
    "{{ slow_markup|escape }} {{ slow_markup|force_escape }} {{ slow_markup|linebreaks }}",
    "{{ slow_markup|striptags|truncatechars:3 }} {{ slow_safe|lower }} {{ slow_safe|add:markup }}",
    "{# comment #}{% comment %}{{ slow|fails }}{% endcomment %}{% verbatim %}{{ x }}{% endverbatim %}",
    # Autoescaping
    "{% autoescape off %}{{ slow_markup }}{{ markup }}{% endautoescape %}{{ slow_markup }}",
    "{% autoescape off %}{% autoescape on %}{{ slow_markup }}{% endautoescape %}{% endautoescape %}",
    # Loops
    "{% for i in items %}{{ i }}{% endfor %}{% for i in items %}{{ i }}{% endfor %}",
    "{% for i in items %}{{ forloop.counter }}{{ forloop.counter0 }}{{ forloop.first }}{% endfor %}",
    "{% for i in items %}{{ forloop.last }}{% endfor %}",
    "{% for i in items %}{{ forloop.revcounter }}{{ forloop.revcounter0 }}{% endfor %}",
    "{% for i in items %}{{ forloop.length }}{{ forloop.nothing }}{% endfor %}",
    "{% for i in items %}{{ forloop.parentloop }}{{ forloop.parentloop.x }}{% endfor %}",
    "{% for i in none %}{{ i }}{% empty %}none {{ slow }}{{ forloop }}{% endfor %}",
    "{% for i in items reversed %}{{ i }}{{ forloop.last }}{% endfor %}",
    "{% for i in none reversed %}{{ i }}{% empty %}-{% endfor %}",
    "{% for i in slow_list %}{{ i }}{{ forloop.revcounter }}{% empty %}-{% endfor %}",
    "{% for i in listed %}{{ i }}{% endfor %}{% for i in missing %}{% empty %}-{% endfor %}",
    "{% for i in slow_none %}x{% empty %}-{% endfor %}{% for c in slow %}{{ c }},{% endfor %}",
    "{% for name, n in pairs %}{{ name }}{{ n }}{{ forloop.counter }}{% endfor %}{{ name }}",
    "{% for name, n in paired %}{{ name }}{{ n }}{% endfor %}",
    "{% for a, b in uneven %}{{ a }}{% endfor %}",
    "{% for a, b in items %}{{ a }}{% endfor %}",
    "{% for a, b in slow_list %}{{ a }}{% endfor %}",
    "{% for self, n in pairs %}{{ self }}{% endfor %}",
    "{% for r in rows %}{{ r.name }} {{ r.year }} {% endfor %}",
    "{% for r in later_rows %}{{ r.name }}{{ forloop.last }}{% endfor %}{{ later_rows|length }}",
    "{% for inner in nested %}{% for x in inner %}{{ forloop.parentloop.counter }}{{ x }}"
    "{{ forloop.parentloop.last }}{{ forloop.last }}{% empty %}-{% endfor %};{% endfor %}",
    "{% for a in items %}{% for b in items %}{{ a }}{{ b }} {% endfor %}{% endfor %}",
    "{% for p in thing.parts %}{{ p }}{% endfor %}{% for p in thing.parts %}{{ p }}{% endfor %}",
    "{% for i in items|slice:'1:' %}{{ i }}{% endfor %}{% for k, v in deep.items %}{{ k }}{% endfor %}",
    "{% for i in items %}{% cycle 'a' slow 'c' %}{% endfor %}",
    "{% for i in items %}{% cycle 'a' slow as c silent %}{{ c }}{% resetcycle c %}{% endfor %}{{ c }}",
    "{% for i in items %}{{ x }}{% firstof i as x %}{{ x }}{% endfor %}{{ x }}",
    "{% for i in items %}{% with x=i %}{{ x }}{% endwith %}{{ x }}{% endfor %}{{ i }}",
    "{% for r in rows %}{% ifchanged r.year %}{{ r.year }}{% else %}same{% endifchanged %}{% endfor %}",
    "{% for r in rows %}{% ifchanged %}{{ r.year }}{{ slow }}{% endifchanged %}{% endfor %}",
    "{% regroup rows by year as years %}{% for y in years %}{{ y.grouper }}:"
    "{% for r in y.list %}{{ r.name }}{% endfor %}{% endfor %}",
    # Conditions
    "{% if slow %}yes{% else %}no{% endif %}{% if zero %}yes{% elif slow_none %}maybe{% else %}no{% endif %}",
    "{% if slow == 'slow' and items %}yes{% endif %}{% if none or zero %}no{% endif %}",
    "{% if 'a' in items %}in{% endif %}{% if slow_list|length > 2 %}long{% endif %}{% if missing %}x{% endif %}",
    "{% if false %}{{ slow|fails }}{% endif %}{% if not none %}none{% endif %}{% if slow < 1 %}x{% endif %}",
    "{% if items.0 == 'a' %}{{ items.0 }}{% endif %}{% if thing.deep.er.x is not None %}7{% endif %}",
    # With
    "{% with x=slow y=items z=slow|upper %}{{ x }}{{ z }}{% for i in y %}{{ i }}{% endfor %}{% endwith %}",
    "{% with items as y %}{{ y|length }}{% for i in y %}{{ i }}{% endfor %}{{ y.0 }}{% endwith %}{{ y }}",
    "{% with x=thing.deep %}{{ x.er.x }}{% endwith %}{% with x=missing %}[{{ x }}]{% endwith %}",
    # Nodes that change the text inside them
    "{% filter upper %}a {{ slow }} {% for i in items %}{{ i }}{% endfor %}{% endfilter %}",
    "{% filter force_escape|brackets:slow %}{{ slow_markup }}{% include 'inner.html' %}{% endfilter %}",
    "{% spaceless %}<p> {% for i in items %} <b> {{ i }} </b> {% endfor %}{{ slow }} </p>{% endspaceless %}",
    "{% load cache %}{% cache 0 one slow %}{{ slow }}{% for i in items %}{{ i }}{% endfor %}{% endcache %}",
    "{% firstof slow_none zero slow_markup %}{% firstof zero '<'|safe %}{% firstof slow as x %}{{ x }}",
    "{% widthratio zero 10 100 %}{% templatetag openblock %}{% now 'Y' %}{% lorem 2 w %}",
    # Includes
    "{% include 'inner.html' %}{% include 'inner.html' with x=slow only %}{% include slow_template %}",
    "{% for i in items %}{% include 'inner.html' with x=i %}{% endfor %}{% include 'deep.html' %}",
    "{% include missing_names %}",
    "a {{ slow }} {% include 'nowhere.html' %}",
    "a {% include 'broken.html' %}",
    "{% include 'recursive.html' with depth=1 %}{% include listed_names %}",
    # Inheritance
    "{% extends 'base.html' %}",
    "{% extends 'base.html' %}{% block title %}{{ slow_markup }}{{ block.super }}{% endblock %}",
    "{% extends 'middle.html' %}{% block inside %}{{ block.super }}{{ items|length }}{% endblock %}",
    "{% extends 'middle.html' %}{% block body %}{% if block.super %}{{ block.super }}{% endif %}{% endblock %}",
    "{% extends 'middle.html' %}{% block title %}{% with s=block.super %}{{ s|upper }}{% endwith %}{% endblock %}",
    "{% extends 'middle.html' %}{% block title %}{% filter upper %}{{ block.super }}{% endfilter %}{% endblock %}",
    "{% extends slow_none %}",
    "{% extends 'nowhere.html' %}",
    "{% extends base_name|default:'base.html' %}{% block title %}{{ slow|fails }}{% endblock %}",
    "before {% extends 'base.html' %}{% block body %}{% include 'deep.html' %}{% endblock %}",
    "{% block a %}{{ slow }}{% block b %}{{ block.super }}{{ slow }}{% endblock %}{% endblock %}",
    # Custom tags
    "{% load corpus %}{% peek 'slow' %}{% peek 'items' %}{% peek 'missing' %}{% peek name=slow %}",
    "{% load corpus %}{% shout slow items thing.name x=slow y=text %}{% shout slow as x %}{{ x }}",
    "{% load corpus %}{% boxed slow_markup %}{% boxed items %}{% boxed missing %}",
    "{% load corpus %}{% for i in items %}{% boxed i %}{% endfor %}",
    "{% load corpus %}{% twice %}{{ slow }}{% for i in items %}{{ i }}{% endfor %}{% endtwice %}",
    "{% load corpus %}{% through %}{{ through }}{{ slow }}{% include 'inner.html' %}{% endthrough %}",
    "{% load corpus %}{% filter lower %}{% through %}{% boxed slow %}{% endthrough %}{% endfilter %}",
    # Languages and formats
    "{% load i18n %}{% translate 'Yes' %}{% translate slow %}{% translate 'No' as n %}{{ n }}",
    "{% load i18n %}{% language 'de' %}{% translate 'Yes' %}{{ slow }}{{ slow_time }}{% endlanguage %}"
    "{% translate 'Yes' %}{% get_current_language as l %}{{ l }}",
    "{% load i18n %}{% blocktranslate %}Hello {{ slow }} {{ slow_markup }} {{ missing }}{% endblocktranslate %}",
    "{% load i18n %}{% blocktranslate with x=slow|upper y=items|length trimmed %}\n {{ x }}\n {{ y }}"
    "{% endblocktranslate %}",
    "{% load i18n %}{% blocktranslate count n=items|length %}one{% plural %}{{ n }} of {{ slow }}"
    "{% endblocktranslate %}",
    "{% load l10n tz %}{% localize on %}{{ slow_number }}{% endlocalize %}{% localize off %}"
    "{{ slow_number }}{% endlocalize %}{% timezone 'Asia/Tokyo' %}{{ slow_time }}{% endtimezone %}"
    "{% localtime off %}{{ slow_time }}{% endlocaltime %}",
    # Faults
    "{{ slow }}\n  {{ slow|fails }} after",
    "{% for i in items %}\n{% if i == 'a' %}{% else %}{{ i|fails }}{% endif %}{% endfor %}",
    "{{ broken }} {{ text }}",
    "{% if broken == 1 %}{% endif %}{% with x=broken %}{{ x }}{% endwith %}",
    "{{ vanished }} {{ vanished.x }} {{ text }}",
    "{% load corpus %}{% shout broken %}",
    "{% url 'nowhere' slow %}",
    "{% url slow_list %}",
    # Templates that cannot be compiled
    "{% nonsense %}",
    "{% if slow %}",
    "{{ slow|nonsense }}",
    "{% for i in %}{% endfor %}",
    "{{ slow|upper:1 }}",
    "{% block a %}{% endblock %}{% block a %}{% endblock %}",
    "{{ _slow }} {{ slow._x }}",
]
if django.VERSION >= (6, 0):
    TEMPLATES += [
        "{% partialdef p %}{{ slow }}{% for i in items %}{{ i }}{% endfor %}{% endpartialdef %}"
        "[{% partial p %}{% partial p %}]",
        "{% partialdef p inline %}{{ slow }}{% endpartialdef %}{% include 'corpus.html#p' %}",
        "{% partialdef p %}{{ slow|fails }}{% endpartialdef %}\n{% partial p %}{% partial q %}",
    ]
