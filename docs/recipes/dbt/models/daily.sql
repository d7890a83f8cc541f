select
    day,
    source,
    count(*) as headlines,
    avg(sentiment_score) as mean_score
from {{ source('finsent', 'headlines') }}
where sentiment is not null
group by all
order by all
